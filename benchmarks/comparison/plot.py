"""The ratios of single calls as a picture: a line for each row, a dot for each library, on a logarithmic axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

GROUPS = ("sync", "asyncio", "dtypes", "rest", "process")
COLOURS = ("#0b6e4f", "#62b58f", "#c8553d", "#3066be", "#8e5ea2", "#888888", "#b8860b", "#111111", "#d16ba5", "#5f9ea0")
LINE, LEFT, WIDTH, RIGHT, TOP = 22, 230, 620, 30, 50
TICKS = (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def draw(results: dict[str, Any], path: Path) -> bool:
    """Write a PNG; False if no row has a ratio."""
    rows = [row for row in results["rows"] if row["group"] in GROUPS and row["results"]]
    names = [name for name in results["libraries"] if any(_compared(row, name) for row in rows)]
    if not names:
        return False
    ratios = [row["results"][name]["ratio"] for row in rows for name in names if _compared(row, name)]
    low, high = math.log(min(0.9, *ratios) / 1.03), math.log(max(1.2, *ratios) * 1.05)

    def across(ratio: float) -> float:
        """The place of a ratio; ends of intervals beyond the axis lie at its end."""
        return LEFT + WIDTH * min(1.0, max(0.0, (math.log(ratio) - low) / (high - low)))

    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    places = _legend(names, small.getlength)
    top = TOP + LINE * (1 + max(line for _, line in places))
    bottom = top + LINE * len(rows)
    image = Image.new("RGB", (LEFT + WIDTH + RIGHT, bottom + 40), "white")
    canvas = ImageDraw.Draw(image)
    canvas.text((10, 8), "Time of a call, from array to array, as a multiple of the raw call", "black", font)
    for (at, line), name, colour in zip(places, names, itertools.cycle(COLOURS)):
        y = 33 + LINE * line
        canvas.ellipse((at, y + 3, at + 9, y + 12), colour)
        canvas.text((at + 14, y), name, "black", small)
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            canvas.line((across(tick), top - 6, across(tick), bottom), "black" if tick == 1 else "#dddddd")
            canvas.text((across(tick), bottom + 6), f"{tick:g}", "black", small, anchor="ma")
    for index, row in enumerate(rows):
        middle = top + LINE * index + LINE // 2
        canvas.text((LEFT - 10, middle), f"{row['group']}: {row['name']}", "black", small, anchor="rm")
        canvas.line((LEFT, middle, LEFT + WIDTH, middle), "#eeeeee")
        for name, colour in zip(names, itertools.cycle(COLOURS)):
            if _compared(row, name):
                one = row["results"][name]
                if one["interval"]:
                    start, end = map(across, one["interval"])
                    canvas.line((start, middle, end, middle), colour, 2)
                x = across(one["ratio"])
                canvas.ellipse((x - 4, middle - 4, x + 4, middle + 4), colour)
    image.save(path)
    return True


def _legend(names: Sequence[str], length: Callable[[str], float]) -> list[tuple[float, int]]:
    """Where each name stands: from the left, and in which line."""
    found, at, line = [], 10.0, 0
    for name in names:
        width = 30 + length(name)
        if at > 10 and at + width > LEFT + WIDTH + RIGHT:
            at, line = 10.0, line + 1
        found.append((at, line))
        at += width
    return found


def _compared(row: dict[str, Any], name: str) -> bool:
    return name in row["results"] and name != row["floor"]
