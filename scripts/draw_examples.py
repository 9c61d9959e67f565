"""Draw the example pictures: a puppy to segment, a digit to read, a scene of shapes to find.

    python scripts/draw_examples.py           # writes examples/pupper.jpg, digit.png and scene.png

Everything is drawn four times too large and shrunk, which smooths the edges. No chance is involved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCALE = 4

Point = tuple[float, float]

SKY, SKY_LOW = (150, 206, 240), (206, 233, 247)
GRASS, GRASS_LOW = (139, 196, 98), (112, 174, 79)
FUR, FUR_DARK, FUR_LIGHT = (214, 150, 84), (146, 88, 44), (250, 228, 192)
NOSE, TONGUE, COLLAR, TAG, LINE = (52, 38, 36), (236, 112, 128), (206, 50, 56), (246, 200, 66), (98, 58, 34)

PAPER, PAPER_LOW = (250, 245, 234), (233, 222, 203)
RED, ORANGE, YELLOW, GREEN = (214, 69, 65), (233, 138, 50), (232, 178, 32), (64, 145, 108)
TEAL, BLUE, VIOLET, PINK = (38, 140, 160), (52, 92, 168), (122, 78, 158), (222, 110, 150)


class Canvas:
    """A picture with smooth shapes; all coordinates are those of the finished picture."""

    def __init__(self, mode: str, size: tuple[int, int], color: object) -> None:
        self.size = size
        self.image = Image.new(mode, (size[0] * SCALE, size[1] * SCALE), color)
        self.draw = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        return self.image.resize(self.size, Image.Resampling.LANCZOS)

    def shape(self, points: Iterable[Point], fill: object, edge: object = None, width: float = 3) -> None:
        """A closed smooth curve through the points."""
        outline = [(x * SCALE, y * SCALE) for x, y in smooth(list(points))]
        self.draw.polygon(outline, fill=fill)
        if edge is not None:
            self.draw.line([*outline, *outline[:2]], fill=edge, width=round(width * SCALE), joint="curve")

    def polygon(self, points: Iterable[Point], fill: object) -> None:
        """A shape with straight sides."""
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: object,
        *,
        edge: object = None,
        turn: float = 0,
        width: float = 3,
    ) -> None:
        """An ellipse about (x, y), turned by degrees."""
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        ring = [(rx * math.cos(t), ry * math.sin(t)) for t in (math.tau * i / 24 for i in range(24))]
        self.shape([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in ring], fill, edge, width)

    def stroke(self, points: Sequence[Point], fill: object, width: float) -> None:
        """An open smooth line with round ends."""
        path = [(x * SCALE, y * SCALE) for x, y in smooth(list(points), closed=False)]
        radius = width * SCALE / 2
        for x, y in path:
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def smooth(points: list[Point], *, closed: bool = True, steps: int = 24) -> list[Point]:
    """Points on the Catmull-Rom curve through the given ones."""
    around = [points[-1], *points, *points[:2]] if closed else [points[0], *points, points[-1]]
    return [
        bend(around[i : i + 4], step / steps) for i in range(len(around) - 3) for step in range(steps + (not closed))
    ]


def bend(four: Sequence[Point], t: float) -> Point:
    """The curve between the second and the third of four points."""
    weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    x, y = (sum(w * p[axis] for w, p in zip(weights, four, strict=True)) / 2 for axis in (0, 1))
    return x, y


def puppy() -> Image.Image:
    """A puppy that sits in the grass and waits, 640 x 480."""
    canvas = Canvas("RGB", (640, 480), SKY)
    meadow(canvas)
    tail(canvas)
    body(canvas)
    head(canvas)
    return canvas.finished()


def meadow(canvas: Canvas) -> None:
    """Sky over grass, each paler towards the horizon."""
    gradient(canvas, 0, 330, SKY, SKY_LOW)
    gradient(canvas, 330, 480, GRASS, GRASS_LOW)
    hill = [(-40, 345), (120, 318), (330, 330), (520, 312), (680, 340), (680, 360), (-40, 360)]
    canvas.shape(hill, GRASS)


def gradient(canvas: Canvas, top: int, bottom: int, upper: Sequence[int], lower: Sequence[int]) -> None:
    """A band whose colour changes evenly downwards."""
    for y in range(top * SCALE, bottom * SCALE):
        part = (y / SCALE - top) / (bottom - top)
        color = tuple(round(a + (b - a) * part) for a, b in zip(upper, lower, strict=True))
        canvas.draw.line((0, y, canvas.image.width, y), fill=color)


def tail(canvas: Canvas) -> None:
    wag = [(404, 398), (452, 384), (486, 346), (492, 304)]
    canvas.stroke(wag, LINE, 36)
    canvas.stroke(wag, FUR, 30)
    canvas.stroke([(489, 325), (492, 304)], FUR_LIGHT, 28)


def body(canvas: Canvas) -> None:
    canvas.oval(320, 436, 170, 16, (98, 158, 70))
    for side in (-1, 1):  # haunches
        canvas.oval(320 + side * 80, 386, 58, 54, FUR, edge=LINE)
    torso = [(262, 250), (242, 320), (250, 400), (284, 434), (356, 434), (390, 400), (398, 320), (378, 250)]
    canvas.shape(torso, FUR, LINE)
    canvas.oval(320, 330, 46, 66, FUR_LIGHT)
    for side in (-1, 1):
        x = 320 + side * 104  # hind paw
        canvas.oval(x, 428, 42, 19, FUR_LIGHT, edge=LINE)
        toes(canvas, x, 428)
        leg = [(320 + side * a, b) for a, b in ((14, 340), (60, 336), (62, 420), (12, 420))]
        canvas.shape(leg, FUR)
        canvas.stroke([(320 + side * 12, 346), (320 + side * 9, 416)], LINE, 3)
        canvas.stroke([(320 + side * 64, 352), (320 + side * 66, 412)], LINE, 3)
        canvas.oval(320 + side * 38, 430, 36, 20, FUR_LIGHT, edge=LINE)
        toes(canvas, 320 + side * 38, 430)


def toes(canvas: Canvas, x: float, y: float) -> None:
    for shift in (-10, 10):
        canvas.stroke([(x + shift, y + 4), (x + shift * 0.9, y + 15)], LINE, 2.6)


def head(canvas: Canvas) -> None:
    canvas.stroke([(254, 252), (288, 272), (320, 278), (352, 272), (386, 252)], COLLAR, 20)
    canvas.oval(320, 296, 15, 15, TAG, edge=LINE, width=2.5)
    skull = [
        (320, 62),
        (392, 76),
        (436, 130),
        (438, 192),
        (398, 244),
        (320, 262),
        (242, 244),
        (202, 192),
        (204, 130),
        (248, 76),
    ]
    canvas.shape(skull, FUR, LINE)
    blaze = [(320, 70), (338, 90), (336, 140), (350, 176), (290, 176), (304, 140), (302, 90)]
    canvas.shape(blaze, FUR_LIGHT)
    for side in (-1, 1):
        ear(canvas, side)
        eye(canvas, side)
    muzzle(canvas)


def ear(canvas: Canvas, side: int) -> None:
    points = ((70, 76), (108, 74), (142, 116), (152, 176), (132, 218), (104, 206), (92, 160), (78, 116))
    canvas.shape([(320 + side * x, y) for x, y in points], FUR_DARK, LINE)


def eye(canvas: Canvas, side: int) -> None:
    x = 320 + side * 54
    canvas.oval(x, 156, 19, 22, NOSE)
    canvas.oval(x + 6, 148, 7, 7.5, "white")
    canvas.oval(x - 6, 165, 3.5, 3.5, "white")
    canvas.stroke([(x - side * 12, 120), (x + side * 4, 113), (x + side * 16, 118)], FUR_DARK, 6)


def muzzle(canvas: Canvas) -> None:
    mouth = [(300, 222), (340, 222), (342, 244), (334, 262), (320, 268), (306, 262), (298, 244)]
    canvas.shape(mouth, TONGUE, LINE)
    canvas.stroke([(320, 232), (320, 252)], (204, 78, 98), 3)
    cheeks = [
        (320, 164),
        (356, 172),
        (386, 200),
        (376, 228),
        (344, 236),
        (320, 226),
        (296, 236),
        (264, 228),
        (254, 200),
        (284, 172),
    ]
    canvas.shape(cheeks, FUR_LIGHT)
    for side in (-1, 1):
        canvas.stroke([(320, 224), (320 + side * 20, 236), (320 + side * 44, 230), (320 + side * 54, 216)], LINE, 4)
        for x, y in ((34, 206), (44, 216), (46, 202)):
            canvas.oval(320 + side * x, y, 2.4, 2.4, FUR_DARK)
    canvas.stroke([(320, 196), (320, 224)], LINE, 4)
    canvas.shape([(294, 176), (320, 170), (346, 176), (342, 192), (320, 206), (298, 192)], NOSE)
    canvas.oval(310, 179, 8, 3.5, (122, 104, 102), turn=-10)


def digit() -> Image.Image:
    """A three in chalk on a blackboard, 128 x 128 in grey."""
    canvas = Canvas("L", (128, 128), 22)
    line = [
        (34, 30),
        (48, 17),
        (70, 15),
        (87, 27),
        (84, 46),
        (66, 58),
        (54, 61),
        (72, 63),
        (90, 76),
        (92, 97),
        (75, 112),
        (50, 112),
        (31, 99),
    ]
    path = smooth(line, closed=False)
    for i, (x, y) in enumerate(path):
        width = 12 + 1.6 * math.sin(i / 23) + 0.7 * math.sin(i / 5)  # a hand presses now more, now less
        canvas.oval(x, y, width / 2, width / 2, 238)
    return canvas.finished().filter(ImageFilter.GaussianBlur(0.6))


def scene() -> Image.Image:
    """Circles, triangles, stars and other shapes on paper, 800 x 600."""
    canvas = Canvas("RGB", (800, 600), PAPER)
    gradient(canvas, 0, 600, PAPER, PAPER_LOW)
    canvas.oval(176, 180, 112, 112, RED)
    canvas.oval(706, 500, 58, 58, TEAL)
    canvas.oval(392, 78, 36, 36, ORANGE)
    canvas.polygon([(308, 540), (528, 504), (386, 328)], BLUE)
    canvas.polygon(corners(632, 168, 110, 5, turn=-6, inner=0.46), YELLOW)
    canvas.polygon(corners(262, 356, 46, 5, turn=20, inner=0.44), PINK)
    canvas.polygon(corners(424, 214, 66, 4, turn=28), GREEN)
    canvas.polygon(corners(148, 472, 82, 6, turn=12), VIOLET)
    canvas.polygon(corners(590, 374, 56, 5, turn=14), PINK)
    canvas.polygon(turned(716, 332, 112, 46, -24), ORANGE)
    return canvas.finished()


def corners(x: float, y: float, radius: float, count: int, *, turn: float, inner: float = 0) -> list[Point]:
    """A regular polygon about (x, y), turned by degrees; a star with corners between at the part ``inner`` of it."""
    steps = 2 * count if inner else count
    radii = [radius * inner if inner and step % 2 else radius for step in range(steps)]
    angles = [math.radians(turn - 90) + math.tau * step / steps for step in range(steps)]
    return [(x + r * math.cos(angle), y + r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True)]


def turned(x: float, y: float, width: float, height: float, turn: float) -> list[Point]:
    """A rectangle about (x, y), turned by degrees."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    sides = [(u * width / 2, v * height / 2) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in sides]


def main() -> None:
    EXAMPLES.mkdir(exist_ok=True)
    puppy().save(EXAMPLES / "pupper.jpg", quality=88, optimize=True)
    digit().save(EXAMPLES / "digit.png", optimize=True)
    scene().save(EXAMPLES / "scene.png", optimize=True)
    for name in ("pupper.jpg", "digit.png", "scene.png"):
        print(f"examples/{name}: {(EXAMPLES / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
