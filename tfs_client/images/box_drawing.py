"""Drawing of detections: masks, boxes, and names that can be read.

Lines and letters grow with the picture, so that a photo looks the same at any resolution when it is shown in a window.
Each line has a rim of black or white, and so is visible on any ground. Names lie at their boxes, inside of the picture;
the name of a better detection has the choice, and later ones are moved to where they cover none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from math import inf

import numpy as np
from PIL import Image, ImageDraw

from tfs_client._printable import shown
from tfs_client.errors import ImageError
from tfs_client.images.argument_checks import is_number, is_whole
from tfs_client.images.colours import class_colour, ink_on
from tfs_client.images.loading import STRIP
from tfs_client.images.masks import Box, Mask
from tfs_client.images.objects import Detection
from tfs_client.images.text_drawing import line

_PER_LINE = 240  # the picture's side, as a multiple of the width of lines
_PER_NAME = 28  # the same of the height of names
_LEAST_NAME = 16  # pixels; smaller letters cannot be read
_MOST_NAMES = 300  # more would only cover each other, and the time to place them grows with their square


def draw_detections(
    image: Image.Image, items: Sequence[Detection], *, opacity: float, scale: int, font: str | os.PathLike[str] | None
) -> None:
    """Draw detections on an RGB picture.

    Args:
        items: best first.
        opacity: of masks, from 0 to 1.
        scale: pixels of this picture for each pixel of the detections.
    """
    if not isinstance(items, Sequence):
        raise ImageError(f"expected detections as a sequence, got {type(items).__name__}")
    for index, item in enumerate(items):
        _check(index, item)
    side = (image.width * image.height) ** 0.5
    for item in reversed(items):
        if item.mask is not None:
            _paste(image, _enlarged(item.mask, scale), class_colour(item.number), opacity)
    drawing = ImageDraw.Draw(image)
    width = max(1, round(side / _PER_LINE))
    for item in reversed(items):
        _outline(drawing, _near(item.box, scale, image.size, 4 * width), class_colour(item.number), width)
    height = max(_LEAST_NAME, round(side / _PER_NAME))
    names = []
    taken: list[Box] = []
    for item in items[:_MOST_NAMES]:
        text = _name(item, height, image.width, font)
        margin = max(1, height // 8)
        if text is None or text.height + 2 * margin > image.height:
            continue
        box = _near(item.box, scale, image.size, 4 * width)
        place = _place(box, (text.width + 2 * margin, text.height + 2 * margin), image.size, taken)
        taken.append(place)
        names.append((place, text, class_colour(item.number)))
    for (left, top, right, bottom), text, colour in reversed(names):  # the best last: names may overlap
        margin = (bottom - top - text.height) // 2
        drawing.rectangle((left, top, right - 1, bottom - 1), fill=colour)
        image.paste(ink_on(colour), (left + margin, top + margin), text)


def _check(index: int, item: object) -> None:
    """Raise ImageError unless this is a detection that can be drawn: a decoder of the user's may return anything."""
    if not isinstance(item, Detection):
        raise ImageError(f"expected detections, got {type(item).__name__} as number {index}")
    box = item.box
    four = isinstance(box, Sequence | np.ndarray) and len(box) == 4
    if not four or not all(is_number(edge) and -inf < edge < inf for edge in box):
        raise ImageError(f"expected the box of detection {index} as four finite numbers, got {shown(box)}")
    if not (isinstance(item.label, str) and is_number(item.score) and is_whole(item.number)):
        raise ImageError(
            f"expected detection {index} with a label, a score and a whole number, "
            f"got {shown(item.label)}, {shown(item.score)} and {shown(item.number)}"
        )


def _near(box: Sequence[float], scale: int, size: tuple[int, int], margin: int) -> list[float]:
    """Return a box in the pixels that are drawn on. Edges far outside, which Pillow cannot count to, are moved near."""
    limits = (*size, *size)
    return [min(max(edge * scale, -margin), limit + margin) for edge, limit in zip(box, limits, strict=True)]


def _enlarged(mask: Mask, scale: int) -> Mask:
    left, top, right, bottom = (edge * scale for edge in mask.box)
    return Mask(mask.grid, (left, top, right, bottom))


def _paste(image: Image.Image, mask: Mask, colour: tuple[int, int, int], opacity: float) -> None:
    left, top, right, bottom = mask.pixels((0, 0, *image.size))
    step = max(1, STRIP // max(1, right - left))
    if right <= left:
        return
    for first in range(top, bottom, step):
        part = mask.part((left, first, right, min(bottom, first + step)))
        image.paste(colour, (left, first), Image.fromarray(np.multiply(part, round(255 * opacity), dtype=np.uint8)))


def _outline(drawing: ImageDraw.ImageDraw, box: list[float], colour: tuple[int, int, int], width: int) -> None:
    left, top = round(box[0]), round(box[1])
    right, bottom = max(left, round(box[2]) - 1), max(top, round(box[3]) - 1)  # the last pixels in the box
    rim = (width + 2) // 3
    drawing.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=ink_on(colour), width=width + 2 * rim)
    drawing.rectangle((left, top, right, bottom), outline=colour, width=width)


def _name(item: Detection, height: int, width: int, font: str | os.PathLike[str] | None) -> Image.Image | None:
    """Return the name and score of a detection as grey levels: in small letters or cut if the picture is narrow."""
    room = width - 2 * max(1, height // 8)
    tail = f" {item.score:.2f}"
    while height > _LEAST_NAME:
        text = line(item.label, height, room, font, tail=tail)
        whole = line(item.label, height, 10 * room, font, tail=tail)
        if text is not None and whole is not None and text.width == whole.width:
            return text
        height = max(_LEAST_NAME, round(height * 0.8))
    return line(item.label, height, room, font, tail=tail)


def _place(box: list[float], size: tuple[int, int], picture: tuple[int, int], taken: list[Box]) -> Box:
    """Return a place for a name: the first that covers no other name, else the one that covers least."""
    others = np.array(taken, np.int64).reshape(-1, 4)
    best, least = None, None
    for left, top in _places(box, size):
        left = max(0, min(picture[0] - size[0], left))
        top = max(0, min(picture[1] - size[1], top))
        place = (left, top, left + size[0], top + size[1])
        sides = np.minimum(place[2:], others[:, 2:]) - np.maximum(place[:2], others[:, :2])
        covered = int(np.clip(sides, 0, None).prod(axis=1).sum())
        if least is None or covered < least:
            best, least = place, covered
        if not covered:
            break
    assert best is not None
    return best


def _places(box: list[float], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield left and top edges for a name, the best first."""
    left, top, right, bottom = map(round, box)
    width, height = size
    yield left, top - height
    yield left, bottom
    yield left, top
    yield right - width, top - height
    yield right - width, bottom
    yield right - width, top
    yield left, bottom - height
    yield right - width, bottom - height
    yield right, top
    yield left - width, top
    for steps in range(2, 6):
        yield left, top - steps * height
        yield left, bottom + (steps - 1) * height
        yield right - width, top - steps * height
        yield right - width, bottom + (steps - 1) * height
