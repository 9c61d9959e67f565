"""Label maps to pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from tfs_client.codec import extents
from tfs_client.errors import ImageError
from tfs_client.images.loading import MAX_PIXELS, STRIP, Path
from tfs_client.shown import shown

Array = np.ndarray[Any, Any]


def overlay(
    image: Image.Image, labels: Array, *, opacity: float = 0.55, max_pixels: int | None = MAX_PIXELS
) -> Image.Image:
    """The picture with a colour on every pixel whose label is not 0.

    Args:
        labels: integers (height, width); stretched to the picture without mixing labels.
        max_pixels: the most labels; None for no limit.

    Raises ImageError for labels of another shape, for more than ``max_pixels`` of them, and when memory runs out;
    DecodeError for an array that declares a huge shape and holds next to nothing.
    """
    if labels.ndim != 2 or not labels.size:
        raise ImageError(f"expected labels of the shape (height, width), got {shown(labels.shape)}")
    extents.check_copy(labels, "the map of labels")
    if max_pixels is not None and labels.size > max_pixels:
        raise ImageError(f"expected a map of at most {max_pixels} labels (max_pixels=), got {shown(labels.shape)}")
    try:
        colours = Image.fromarray(_painted(labels)).resize(image.size, Image.Resampling.NEAREST)
        covered = np.multiply(labels > 0, round(255 * opacity), dtype=np.uint8)
        mask = Image.fromarray(covered).resize(image.size, Image.Resampling.NEAREST)
        return Image.composite(colours, image.convert("RGB"), mask)
    except MemoryError as error:
        raise ImageError("there is not enough memory to draw on the picture") from error


def _painted(labels: Array) -> Array:
    """The colour of every label, some rows at a time."""
    colours = np.empty((*labels.shape, 3), np.uint8)
    for rows, painted in zip(_strips(labels), _strips(colours), strict=True):
        found, places = np.unique(np.clip(rows, 0, None), return_inverse=True)  # a label may be any number
        painted[...] = _colours_of(found)[places.reshape(rows.shape)]
    return colours


def _strips(array: Array) -> list[Array]:
    height = max(1, STRIP // max(1, array.shape[1]))
    return [array[top : top + height] for top in range(0, len(array), height)]


def label_colours(count: int) -> Array:
    """A colour for each label, (count, 3) uint8: black for 0, red for 1, then hues a golden angle apart."""
    return _colours_of(np.arange(count))


def _colours_of(labels: Array) -> Array:
    hues = (labels.astype(np.float64) - 1) * 0.618034 % 1.0
    distance = np.abs((hues[:, None] * 6 - np.array([0, 2, 4]) + 3) % 6 - 3)
    colours: Array = (np.clip(2 - distance, 0, 1) * 255).astype(np.uint8)
    colours[labels == 0] = 0
    return colours


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture in the format of the file's ending. Raises ImageError when that cannot be done."""
    try:
        image.save(path)
    except Exception as error:  # Pillow's encoders raise almost anything, for sizes that they do not know too
        raise ImageError(f"cannot write {str(path)!r}: {error or 'there is not enough memory'}") from error
