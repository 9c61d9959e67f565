"""Masks of objects and maps of labels: small arrays that are enlarged to the pixels of a picture on demand.

A hundred masks of a photo with 100 megapixels take 10 GB, if each has a value per pixel. So they stay as small as the
model returned them, and only the part that is drawn or asked for is enlarged, in strips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import ImageError

_STRIP = 1 << 20  # pixels enlarged at a time

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of an object.

    Attributes:
        grid: (height, width): floats from 0 to 1, of which those above 0.5 belong to the object, or bool. Floats are
            enlarged by interpolation, bool by nearest neighbour.
        box: left, top, right and bottom edge of the grid in pixels of the picture; parts may lie outside of it.
    """

    grid: Array
    box: tuple[float, float, float, float]

    def full(self, size: tuple[int, int]) -> Array:
        """Return the mask of a picture of this width and height as bool (height, width). Raises ImageError."""
        return self.part((0, 0, *size))

    def part(self, box: Box) -> Array:
        """Return the mask of a part of the picture as bool (height, width).

        Args:
            box: left, top, right and bottom edge, in whole pixels.

        Raises ImageError if memory runs out.
        """
        left, top, right, bottom = inside = self.pixels(box)
        shape = (box[3] - box[1], box[2] - box[0])
        try:
            found = np.zeros(shape, bool)
            if left < right and top < bottom:
                self._paint(found[top - box[1] : bottom - box[1], left - box[0] : right - box[0]], inside)
        except MemoryError as error:
            raise ImageError(f"not enough memory for a mask of {shape[1]} x {shape[0]} pixels") from error
        return found

    def pixels(self, box: Box) -> Box:
        """Return the part of a box, in whole pixels, that the grid covers. Elsewhere the mask is False."""
        left, right = _covered(self.box[0], self.box[2], box[0], box[2])
        top, bottom = _covered(self.box[1], self.box[3], box[1], box[3])
        return left, top, right, bottom

    def _paint(self, found: Array, inside: Box) -> None:
        left, top, right, bottom = inside
        across = _positions(self.box[0], self.box[2], left, right, self.grid.shape[1])
        step = max(1, _STRIP // (right - left))
        for first in range(top, bottom, step):
            last = min(bottom, first + step)
            down = _positions(self.box[1], self.box[3], first, last, self.grid.shape[0])
            if self.grid.dtype.kind == "b":
                strip = self.grid[(down + 0.5).astype(np.int64)][:, (across + 0.5).astype(np.int64)]
            else:
                rows = _between(self.grid, down)
                strip = _between(rows.T, across).T > 0.5
            found[first - top : last - top] = strip


def labels_at(labels: Array, rows: Array, columns: Array) -> Array:
    """Return the labels of a map at rows and columns (see ``Geometry.cells``); -1 where one of them is -1."""
    if not labels.size:
        return np.full((rows.size, columns.size), -1, np.int16)
    found: Array = labels[np.maximum(rows, 0)][:, np.maximum(columns, 0)]
    found[rows < 0] = -1
    found[:, columns < 0] = -1
    return found


def _covered(start: float, stop: float, first: int, last: int) -> tuple[int, int]:
    """Return the range of pixels from first to last whose centres lie between two edges."""
    begin, end = (min(last, max(first, math.ceil(edge - 0.5))) for edge in (start, stop))
    return begin, end


def _positions(start: float, stop: float, first: int, last: int, count: int) -> Array:
    """Return where the centres of pixels lie in a row of ``count`` cells between two edges: 0 is the first's centre."""
    found = (np.arange(first, last) + 0.5 - start) / (stop - start) * count - 0.5
    return np.asarray(np.clip(found, 0, count - 1))


def _between(grid: Array, positions: Array) -> Array:
    """Interpolate linearly between the rows of a grid, as float32."""
    below = np.minimum(positions.astype(np.int64), max(len(grid) - 2, 0))
    above = np.minimum(below + 1, len(grid) - 1)
    part = (positions - below).astype(np.float32)[:, None]
    found: Array = grid[below].astype(np.float32) * (1 - part) + grid[above].astype(np.float32) * part
    return found
