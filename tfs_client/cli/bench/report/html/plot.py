"""Plot: a chart as SVG, with axes. Its colours are classes of the page's style, so that it suits light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, hypot, isfinite, log10

from tfs_client.cli.html_document import text

WIDTH, HEIGHT = 400, 250  # units of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 22, 42  # around the area with the data
MOST_TICKS = 6
LETTER = 7.2  # units; an estimate of a letter's width
ASCENT = 10  # units above the baseline of a label
PLACES = 20  # of a label along its line
STEP = 3  # units between the places of a line that labels avoid

Point = tuple[float, float]
Tick = tuple[float, str]


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        title: what it shows.
        low, high: its ends.
        ticks: values and their labels.
        log: whether it is logarithmic.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[Tick]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value is, from 0 at the low end to 1; values beyond the ends are at the ends."""
        value = min(self.high, max(self.low, value))
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(title: str, values: Iterable[float], label: Callable[[float], str], *, low: float | None = None) -> Axis:
    """An axis for these values, with round ticks. It begins at ``low``, or below the lowest value."""
    found = [value for value in values if isfinite(value)] or [0.0]
    start = min(found) if low is None else low
    end = max(found) if max(found) > start else start + (abs(start) or 1.0)
    step = _round_step((end - start) / (MOST_TICKS - 1))
    start, end = floor(start / step + 1e-9) * step, ceil(end / step - 1e-9) * step
    ticks = [start + number * step for number in range(round((end - start) / step) + 1)]
    return Axis(title, start, end, [(tick, label(tick)) for tick in ticks])


def logarithmic(title: str, values: Iterable[float], label: Callable[[float], str]) -> Axis:
    """An axis for the positive ones of these values, with ticks at 1, 2 and 5 of each power of ten, or fewer."""
    found = [value for value in values if isfinite(value) and value > 0] or [1.0]
    powers = range(floor(log10(min(found))) - 1, ceil(log10(max(found))) + 2)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        marks = [step * 10.0**power for power in powers for step in steps]
        below = max(mark for mark in marks if mark <= min(found) * (1 + 1e-9))
        above = min(mark for mark in marks if mark >= max(found) * (1 - 1e-9) and mark > below)
        ticks = [mark for mark in marks if below <= mark <= above]
        if len(ticks) <= MOST_TICKS + 1:
            break
    else:
        ticks = ticks[:: ceil(len(ticks) / MOST_TICKS)]
    return Axis(title, below, above, [(tick, label(tick)) for tick in ticks], log=True)


@dataclass(frozen=True)
class Plot:
    """A chart with two axes.

    Attributes:
        name: what it shows, for readers who do not see it.
        x, y: the axes.
    """

    name: str
    x: Axis
    y: Axis

    def place(self, point: Point) -> Point:
        """Where a point is drawn."""
        across, up = self.x.share(point[0]), self.y.share(point[1])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Iterable[Point], kind: str, *, dots: bool = False) -> str:
        """A line through points; NaN interrupts it. ``kind`` is the class of its colour."""
        parts: list[list[str]] = [[]]
        marks = []
        for point in points:
            if not all(map(isfinite, point)):
                parts.append([])
                continue
            x, y = self.place(point)
            parts[-1].append(f"{x:.1f},{y:.1f}")
            if dots:
                marks.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        lines = [f'<polyline class="{kind}" points="{" ".join(part)}"/>' for part in parts if len(part) > 1]
        lonely = [f'<circle class="{kind}" cx="{x}" cy="{y}" r="2"/>' for x, y in map(_only, parts) if x and not dots]
        return "".join((*lines, *lonely, *marks))

    def bar(self, start: float, end: float, low: float, high: float, kind: str) -> str:
        """A bar from ``start`` to ``end`` of the x axis, and from ``low`` to ``high`` of the y axis."""
        (left, bottom), (right, top) = self.place((start, low)), self.place((end, high))
        size = f'width="{max(right - left, 0.5):.1f}" height="{max(bottom - top, 0):.1f}"'
        return f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {size}/>'

    def upright(self, value: float, label: str) -> str:
        """A dashed line at a value of the x axis, with its label above."""
        x, _ = self.place((value, self.y.low))
        half = len(label) * LETTER / 2
        middle = min(max(x, LEFT + half), WIDTH - RIGHT - half)
        line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        return f'{line}<text class="mark" x="{middle:.1f}" y="{TOP - 8}" text-anchor="middle">{text(label)}</text>'

    def level(self, value: float, label: str, lines: Iterable[Sequence[Point]]) -> str:
        """A dashed line at a value of the y axis; its label is above or below it, where ``lines`` are not."""
        _, y = self.place((self.x.low, value))
        width = len(label) * LETTER
        drawn = [point for line in lines for point in self._along(line)]
        start, end = LEFT + 4, WIDTH - RIGHT - 4 - width
        places = [
            (start + (end - start) * at / PLACES, base)
            for at in range(PLACES + 1)
            for base in (y - 5, y + 13)
            if TOP + ASCENT <= base <= HEIGHT - BOTTOM - 3
        ]

        def crossed(place: Point) -> int:
            left, base = place
            return sum(left - 2 <= x <= left + width + 2 and base - ASCENT - 3 <= up <= base + 4 for x, up in drawn)

        left, base = min(places, key=crossed)
        mark = f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        return f'{mark}<text class="mark" x="{left:.1f}" y="{base:.1f}">{text(label)}</text>'

    def _along(self, line: Sequence[Point]) -> Iterator[Point]:
        """Places along a drawn line, close to each other; NaN interrupts it."""
        placed = [self.place(point) for point in line if all(map(isfinite, point))]
        yield from placed[:1]
        for (x, y), (after, end) in pairwise(placed):
            steps = max(1, ceil(hypot(after - x, end - y) / STEP))
            yield from ((x + (after - x) * at / steps, y + (end - y) * at / steps) for at in range(1, steps + 1))

    def drawn(self, *marks: str) -> str:
        """The chart with what was drawn into it."""
        return svg(self.name, HEIGHT, f"{self._axes()}{''.join(marks)}")

    def _axes(self) -> str:
        parts = []
        for value, label in self.y.ticks:
            _, y = self.place((self.x.low, value))
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(label)}</text>')
        shown = -1.0  # the right end of the last label: labels do not overlap
        for value, label in self.x.ticks:
            x, _ = self.place((value, self.y.low))
            half = len(label) * LETTER / 2
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            middle = min(x, WIDTH - half - 1)
            if middle - half > shown + 2:
                place = f'x="{middle:.1f}" y="{HEIGHT - BOTTOM + 17}"'
                parts.append(f'<text {place} text-anchor="middle">{text(label)}</text>')
                shown = middle + half
        title = f'x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 7}"'
        parts.append(f'<text class="title" {title} text-anchor="middle">{text(self.x.title)}</text>')
        return "".join(parts)


def svg(name: str, height: float, content: str) -> str:
    """A drawing as an element."""
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{text(name)}">{content}</svg>\n'


def _only(part: Sequence[str]) -> tuple[str, str]:
    """The place of a point that no line reaches; empty otherwise."""
    if len(part) != 1:
        return "", ""
    x, _, y = part[0].partition(",")
    return x, y


def _round_step(step: float) -> float:
    """The next step that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
