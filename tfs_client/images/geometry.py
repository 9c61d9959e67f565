"""Where the pixels of a picture are in the tensor that a model receives, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfs_client._codec.dtypes import Array

FITS = ("stretch", "crop", "pad")
"""How a picture of another shape fills a tensor; see ``Geometry.of``."""

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Geometry:
    """The place of a picture in a tensor: resized, then moved by an offset.

    Attributes:
        source: width and height of the picture, turned upright.
        resized: width and height of the whole picture in pixels of the tensor.
        offset: left and top edge of the resized picture in the tensor; negative where the picture is cropped.
        target: width and height of the tensor.
        known: whether they are those of the tensor that was sent. Otherwise only the picture's size is known, and the
            tensor is described as if it had this size.
    """

    source: Size
    resized: Size
    offset: tuple[int, int]
    target: Size
    known: bool = True

    @classmethod
    def of(cls, source: Size, target: Size | None, fit: str = "stretch", crop_fraction: float = 1.0) -> Geometry:
        """Place a picture in a tensor.

        Args:
            source: the picture's width and height.
            target: the tensor's width and height; None leaves the picture as it is.
            fit: "stretch", "crop" (cover the tensor, cut off what exceeds it) or "pad" (fit into it, with a border).
            crop_fraction: with "crop", the part of the covered size that is kept: 224 of 256 is 0.875.
        """
        if target is None:
            return cls(source, source, (0, 0), source)
        if fit == "stretch":
            return cls(source, target, (0, 0), target)
        resized = _covering(source, covered(target, crop_fraction)) if fit == "crop" else _within(source, target)
        left, top = (_half(room - size) for room, size in zip(target, resized, strict=True))
        return cls(source, resized, (left, top), target)

    @classmethod
    def unknown(cls, source: Size) -> Geometry:
        """Describe a picture that covers a tensor of unknown size, because the model resizes it, or nothing is known.

        Args:
            source: the picture's width and height.
        """
        return cls(source, source, (0, 0), source, known=False)

    def to_source(self, boxes: Array, *, clip: bool = True) -> Array:
        """Convert boxes from pixels of the tensor to pixels of the picture.

        Args:
            boxes: (count, 4): left, top, right and bottom edges.
            clip: whether to cut off what lies outside of the picture.
        """
        found = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        scale = np.array(self.source, np.float64) / np.array(self.resized, np.float64)
        found = (found - self.offset) * scale
        return np.asarray((np.clip(found, 0, self.source) if clip else found).reshape(-1, 4))

    def cells(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return which cell of a map of the tensor lies at the centre of each pixel of the picture.

        Args:
            shape: height and width of the map, which covers the whole tensor with any number of cells.

        Returns the row of the map for each row of the picture, and the column for each column; -1 where the picture was
        cropped away.
        """
        rows, columns = (
            _cells(self.source[axis], self.resized[axis], self.offset[axis], self.target[axis], count)
            for axis, count in ((1, shape[0]), (0, shape[1]))
        )
        return rows, columns

    def visible(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of a map of the tensor whose centres lie in the picture, not in its border.

        A picture that is so narrow that it has no centre of a cell has the cells that its own centre lies in.

        Args:
            shape: height and width of the map, which covers the whole tensor with any number of cells.
        """
        rows, columns = (
            _visible(self.offset[axis], self.resized[axis], self.target[axis], count)
            for axis, count in ((1, shape[0]), (0, shape[1]))
        )
        return rows, columns


def covered(target: Size, crop_fraction: float) -> Size:
    """Return the size that a picture covers before it is cropped to the target."""
    return round(target[0] / crop_fraction), round(target[1] / crop_fraction)


def _cells(source: int, resized: int, offset: int, target: int, count: int) -> Array:
    # Whole numbers, so that no cell is missed by rounding: (pixel + 1/2) * resized / source + offset, in cells.
    centres = (2 * np.arange(source, dtype=np.int64) + 1) * resized + 2 * offset * source
    found = centres * count // (2 * source * target)
    return np.where((found >= 0) & (found < count), found, -1)


def _visible(offset: int, resized: int, target: int, count: int) -> slice:
    first, last = _first(offset, target, count), _first(offset + resized, target, count)
    if first < last:
        return slice(first, last)
    cell = min(max((2 * offset + resized) * count // (2 * target), 0), count - 1)
    return slice(cell, cell + 1)


def _first(edge: int, target: int, count: int) -> int:
    """Return the first of ``count`` cells whose centre lies at or behind an edge."""
    return min(count, max(0, -((target - 2 * edge * count) // (2 * target))))


def _covering(source: Size, target: Size) -> Size:
    """Return the smallest size of the picture's shape that covers the target; fractions are cut off."""
    (width, height), (across, down) = source, target
    if across * height >= down * width:
        return across, max(down, across * height // width)
    return max(across, down * width // height), down


def _within(source: Size, target: Size) -> Size:
    """Return the largest size of the picture's shape that fits into the target."""
    scale = min(target[0] / source[0], target[1] / source[1])
    return (
        min(target[0], max(1, round(source[0] * scale))),
        min(target[1], max(1, round(source[1] * scale))),
    )


def _half(room: int) -> int:
    """Return the offset that centres: room for a border is halved and rounded down, surplus as torchvision does."""
    return room // 2 if room >= 0 else -round(-room / 2)
