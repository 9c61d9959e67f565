"""What is drawn on pictures: visible, readable, inside, and in the right place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from tfs_client import ImageError
from tfs_client.images import (
    Class,
    Classification,
    Detection,
    Detections,
    Geometry,
    Mask,
    Segmentation,
    draw,
    label_colours,
    load_image,
    text_drawing,
)
from tfs_client.images.box_drawing import _place
from tfs_client.images.colours import class_colour, ink_on

GREY = (90, 90, 90)


def found(size: tuple[int, int], *items: Any) -> Detections:
    """Detections of (label, number, box) or (label, number, box, mask)."""
    return Detections([Detection(item[0], 0.87, item[1], *item[2:]) for item in items], size, "x")


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


def where(image: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The bounding box of a colour."""
    rows, columns = np.nonzero((pixels(image) == colour).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_box_has_the_colour_of_its_class_and_lies_at_its_edges(mode: str) -> None:
    image = Image.new("RGB", (640, 480), GREY).convert(mode)
    drawn = draw(image, found((640, 480), ("cat", 1, (100, 200, 300, 400))))
    assert (drawn.mode, drawn.size) == ("RGB", (640, 480))
    left, top, right, bottom = where(drawn, class_colour(1))
    assert (left, right, bottom) == (100, 300, 400)
    assert 150 < top < 200  # of the name above it
    assert pixels(drawn)[300, 200].tolist() == list(GREY)
    assert image.getpixel((100, 300)) == (GREY if mode == "RGB" else GREY[0])


@pytest.mark.parametrize("size", [(16, 16), (60, 300), (640, 480), (1500, 40), (1500, 1000)])
@pytest.mark.parametrize("box", [(0.0, 0.0, 0.3, 0.3), (0.7, 0.7, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)])
def test_names_are_inside_and_readable_at_any_size(size: tuple[int, int], box: Any) -> None:
    edges = tuple(part * side for part, side in zip(box, size * 2, strict=True))
    drawn = draw(Image.new("RGB", size, GREY), found(size, ("traffic light", 1, edges)))
    assert drawn.width % size[0] == drawn.height % size[1] == 0
    assert max(drawn.size) >= 240
    if max(size) >= 240:
        assert drawn.size == size
    assert ink_on(class_colour(1)) == (255, 255, 255)
    plate = (pixels(drawn) == class_colour(1)).all(axis=2)
    rows = np.flatnonzero(plate.sum(axis=1) >= 20)
    letters = np.flatnonzero((pixels(drawn)[rows] > 180).all(axis=2).any(axis=1))
    assert len(rows) >= 12
    assert len(letters) >= 8


def test_a_picture_too_flat_for_letters_has_boxes_only() -> None:
    drawn = draw(Image.new("RGB", (3000, 2), GREY), found((3000, 2), ("cat", 0, (10, 0, 50, 2))))
    assert drawn.size == (3000, 2)
    assert where(drawn, class_colour(0))[:3] == (10, 0, 50)
    small = draw(Image.new("RGB", (10, 10), GREY), found((10, 10), ("cat", 0, (2, 2, 8, 8))), enlarge=False)
    assert small.size == (10, 10)


def test_lines_and_letters_grow_with_the_picture() -> None:
    small, large = (
        draw(
            Image.new("RGB", (side, side), GREY), found((side, side), ("cat", 0, (side * 0.3,) * 2 + (side * 0.8,) * 2))
        )
        for side in (600, 2400)
    )
    shrunk = large.resize(small.size, Image.Resampling.BOX)
    assert np.abs(pixels(shrunk) - pixels(small)).mean() < 3


def test_names_do_not_cover_each_other() -> None:
    taken: list[Any] = []
    for _ in range(8):
        place = _place([100.0, 100.0, 200.0, 180.0], (60, 20), (640, 480), taken)
        for other in taken:
            assert place[0] >= other[2] or other[0] >= place[2] or place[1] >= other[3] or other[1] >= place[3]
        taken.append(place)
    full = _place([0.0, 0.0, 60.0, 20.0], (60, 20), (60, 20), [(0, 0, 60, 20)])
    assert full == (0, 0, 60, 20)


def test_masks_are_half_transparent() -> None:
    box = (100.0, 100.0, 300.0, 300.0)
    mask = Mask(np.array([[False, True]]), box)
    drawn = pixels(draw(Image.new("RGB", (400, 400), GREY), found((400, 400), ("cat", 0, box, mask)), opacity=0.5))
    assert drawn[200, 150].tolist() == list(GREY)
    assert np.abs(drawn[200, 250] - (np.array(GREY) + class_colour(0)) / 2).max() <= 1


def test_label_maps_are_coloured_where_the_picture_is() -> None:
    labels = np.zeros((64, 64), np.int16)
    labels[:, 32:] = 3
    for fit, right in (("pad", slice(100, 200)), ("crop", slice(100, 150)), ("stretch", slice(100, 200))):
        answer = Segmentation(labels, [], Geometry.of((200, 100), (64, 64), fit), "y")
        drawn = pixels(draw(Image.new("RGB", (200, 100), GREY), answer, opacity=1))
        want = np.full((100, 200, 3), GREY)
        want[:, right] = label_colours(4)[3]
        assert np.array_equal(drawn, want)


@pytest.mark.parametrize(
    "name", ["caf\u00e9", "\u732b", "line\nbreak\x1b[31m", "\u202eevil", "x" * 5000, "", "\U0001f600", "a b"]
)
def test_any_name_can_be_drawn(name: str) -> None:
    drawn = draw(Image.new("RGB", (300, 300), GREY), found((300, 300), (name, 0, (50, 100, 250, 250))))
    left, _, right, _ = where(drawn, class_colour(0))
    assert left >= 0
    assert right <= 300


def test_characters_without_a_glyph_show_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_drawing, "_OF_SYSTEMS", ())
    for missing, shown in (("\U0001fbff", "u+1fbff"), ("\u0378", "u+0378")):
        assert np.array_equal(text(f"cat {missing}"), text(f"cat {shown}"))


def text(name: str, width: int = 5000) -> np.ndarray[Any, Any]:
    drawn = text_drawing.line(name, 40, width)
    assert drawn is not None
    return np.asarray(drawn)


def test_long_names_are_cut_and_keep_their_score() -> None:
    cut = text_drawing.line("a long name of a class", 40, 200, tail=" 0.87")
    whole = text_drawing.line("a long name of a class", 40, 5000, tail=" 0.87")
    assert cut is not None
    assert whole is not None
    assert 100 < cut.width <= 200 < whole.width
    ends = (np.asarray(image)[:, -40:].astype(int) for image in (cut, whole))
    assert np.abs(np.subtract(*ends)).mean() < 10  # the bitmap font is scaled with the whole line
    assert text_drawing.line("cat", 40, 3) is None


def test_without_a_scalable_font_the_bitmap_font_is_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)

    def old(size: float | None = None) -> Any:
        if size is not None:
            raise TypeError("load_default() takes 0 positional arguments but 1 was given")
        return bitmap()

    monkeypatch.setattr(ImageFont, "load_default", old)
    monkeypatch.setattr(text_drawing, "_OF_SYSTEMS", ())
    text_drawing._pillows.cache_clear()
    try:
        small, large = (text_drawing.line("cat \u732b", height, 5000) for height in (20, 100))
    finally:
        text_drawing._pillows.cache_clear()
    assert small is not None
    assert large is not None
    assert large.height == pytest.approx(5 * small.height, abs=5)
    assert large.width == pytest.approx(5 * small.width, rel=0.1)
    assert np.asarray(large).max() > 200


def test_what_cannot_be_drawn_is_said() -> None:
    image = Image.new("RGB", (8, 8))
    with pytest.raises(ImageError, match="nothing to draw: expected detections or a segmentation, got classification"):
        draw(image, Classification([Class("cat", 1.0)], True, "y"))
    with pytest.raises(ImageError, match="about a picture of 9x8 pixels, got one of 8x8"):
        draw(image, found((9, 8)))
    wrong: Any = "a.png"
    with pytest.raises(ImageError, match="expected a PIL image, got str: load_image loads one"):
        draw(wrong, found((8, 8)))
    with pytest.raises(ImageError, match="expected font as the path of a font file, got int"):
        draw(image, found((8, 8)), font=3)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="expected detections as a sequence, got int"):
        draw(image, Detections(5, (8, 8), "x"))  # type: ignore[arg-type]
    for opacity in (2, float("nan"), "x"):
        with pytest.raises(ImageError, match=f"opacity from 0 to 1, got {opacity!r}"):
            draw(image, found((8, 8)), opacity=opacity)
    for box in ((float("nan"), 0, 1, 1), (0, 0, float("inf"), 1), (0, 0, 1), None, ("a", 0, 1, 1)):
        with pytest.raises(ImageError, match="expected the box of detection 0 as four finite numbers"):
            draw(image, found((8, 8), ("cat", 0, box)))
    with pytest.raises(ImageError, match="expected detection 0 with a label, a score and a whole number, got 5"):
        draw(image, found((8, 8), (5, 0, (0, 0, 1, 1))))
    with pytest.raises(ImageError, match=r"cannot read the font 'nowhere\.ttf'"):
        draw(image, found((8, 8), ("cat", 0, (0, 0, 8, 8))), font="nowhere.ttf")
    assert draw(image, found((8, 8))).size == (240, 240)


@pytest.mark.parametrize("far", [1e9, 1e300, 10**400])
def test_edges_far_outside_of_the_picture_are_not_drawn(far: float) -> None:
    image = Image.new("RGB", (400, 300), GREY)
    near, beyond = (draw(image, found((400, 300), ("", 1, (-edge, 100, edge, 200)))) for edge in (1000, far))
    assert where(beyond, class_colour(1))[::2] == (0, 400)
    assert (pixels(near) == pixels(beyond)).all()


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P"])
def test_pictures_of_other_modes_are_drawn_on_as_load_image_shows_them(mode: str) -> None:
    image = Image.new(mode, (300, 300), 65535 if mode == "I;16" else (9, 9, 9, 0) if mode == "RGBA" else 0)
    drawn = draw(image, found((300, 300)))
    assert (pixels(drawn) == pixels(load_image(image).convert("RGB"))).all()


def test_text_contrasts_with_its_ground() -> None:
    def light(colour: tuple[int, int, int]) -> float:
        parts = np.array(colour) / 255
        return float(
            (
                np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) * [0.2126, 0.7152, 0.0722]
            ).sum()
        )

    for number in range(200):
        ground = class_colour(number)
        bright, dark = sorted((light(ground), light(ink_on(ground))), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
