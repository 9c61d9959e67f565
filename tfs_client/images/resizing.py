"""Resizing: the pixels of a picture where they lie in a tensor.

Pillow resamples for all methods but "tf-bilinear", which repeats the arithmetic of ``tf.image.resize``. Only what the
tensor keeps is computed of a large result: a picture of 5000 x 2 pixels that covers 224 x 224 would have 560,000 x 224
before it is cropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client.images.geometry import Geometry
from tfs_client.images.loading import STRIP, boxes, part

RESIZES = ("nearest", "bilinear", "bicubic", "lanczos", "area", "tf-bilinear")
"""The methods: those of Pillow, and "tf-bilinear", which is that of ``tf.image.resize`` without antialiasing."""

# Pillow's filters, and how many pixels each one reaches to both sides (of the source, or of the result if that has
# fewer pixels).
_FILTERS = {
    "nearest": (Image.Resampling.NEAREST, 1),
    "bilinear": (Image.Resampling.BILINEAR, 1),
    "bicubic": (Image.Resampling.BICUBIC, 2),
    "lanczos": (Image.Resampling.LANCZOS, 3),
    "area": (Image.Resampling.BOX, 1),
}

WHOLE = 1 << 22  # pixels of a resized picture that is computed whole, and then cropped

Span = tuple[int, int]  # start and end along an axis


def placed(image: Image.Image, geometry: Geometry, method: str = "bilinear", pad_value: int = 0) -> Array:
    """Return the pixels of a tensor that shows a picture.

    Args:
        image: the picture, in mode "RGB" or "L" and of the size ``geometry.source``.
        geometry: where the picture lies in the tensor.
        method: one of ``RESIZES``.
        pad_value: the value of pixels that the picture does not cover.

    Returns:
        uint8 (height, width, channels), 0 to 255; float32 if "tf-bilinear" has resized the picture, not rounded.
    """
    left, right = _visible(geometry.offset[0], geometry.resized[0], geometry.target[0])
    top, bottom = _visible(geometry.offset[1], geometry.resized[1], geometry.target[1])
    if geometry.source == geometry.resized:
        pixels = _pixels(part(image, (left, top, right, bottom)))
    elif method == "tf-bilinear":
        pixels = _interpolated(image, geometry, (left, right), (top, bottom))
    else:
        pixels = _pixels(_resampled(image, geometry, method, (left, right), (top, bottom)))
    if pixels.shape[:2] == geometry.target[::-1]:
        return pixels
    whole = np.full((*geometry.target[::-1], pixels.shape[2]), pad_value, pixels.dtype)
    x, y = max(0, geometry.offset[0]), max(0, geometry.offset[1])
    whole[y : y + bottom - top, x : x + right - left] = pixels
    return whole


def _visible(offset: int, resized: int, target: int) -> Span:
    """Return the part of the resized picture that lies in the tensor, along one axis."""
    return max(0, -offset), min(resized, target - offset)


def _resampled(image: Image.Image, geometry: Geometry, method: str, columns: Span, rows: Span) -> Image.Image:
    """Return the part of the resized picture, resampled by Pillow."""
    resample, reach = _FILTERS[method]
    box = (columns[0], rows[0], columns[1], rows[1])
    if geometry.resized[0] * geometry.resized[1] <= WHOLE:
        return part(image.resize(geometry.resized, resample), box)
    # Pillow stores the coordinates of a box in 32 bits. Counted from a pixel near the part they are exact enough. But
    # it may resample the axes in another order than for the whole picture, and it rounds after each: values differ by
    # 1, by more where bicubic and lanczos exceed 0..255. So all usual pictures are resized whole.
    near, inside = [], []
    for (start, end), source, resized in zip((columns, rows), geometry.source, geometry.resized, strict=True):
        scale = source / resized
        margin = math.ceil(reach * max(1.0, scale)) + 1
        first, last = max(0, math.floor(start * scale) - margin), min(source, math.ceil(end * scale) + margin)
        near.append((first, last))
        inside.append((max(0.0, start * scale - first), min(last - first, end * scale - first)))
    (x, y), ((left, right), (top, bottom)) = near, inside
    size = (columns[1] - columns[0], rows[1] - rows[0])
    return part(image, (x[0], y[0], x[1], y[1])).resize(size, resample, (left, top, right, bottom))


def _interpolated(image: Image.Image, geometry: Geometry, columns: Span, rows: Span) -> Array:
    """Return the part of the resized picture as ``tf.image.resize(method="bilinear", antialias=False)`` has it.

    It computes in 32-bit floats, also the coordinates, which decides where values of large pictures are taken from.
    """
    left, right, across = _neighbours(columns, geometry.source[0], geometry.resized[0])
    above, below, down = _neighbours(rows, geometry.source[1], geometry.resized[1])
    first, last = int(left.min()), int(right.max()) + 1
    left, right = left - first, right - first
    channels = len(image.getbands())
    found = np.empty((len(above), len(left), channels), np.float32)
    for start, end in _strips(above, below, max(last - first, len(left))):
        top, bottom = int(above[start]), int(below[end - 1]) + 1
        source = np.asarray(part(image, (first, top, last, bottom)), np.uint8).reshape(bottom - top, -1, channels)
        upper, lower = (
            _between(lines.take(left, axis=1), lines.take(right, axis=1), across[:, np.newaxis])
            for lines in (source.take(above[start:end] - top, axis=0), source.take(below[start:end] - top, axis=0))
        )
        found[start:end] = _between(upper, lower, down[start:end, np.newaxis, np.newaxis])
    return found


def _neighbours(span: Span, source: int, resized: int) -> tuple[Array, Array, Array]:
    """Return for each place of a span the two pixels of the source around its centre, and the weight of the second."""
    scale = np.float32(source) / np.float32(resized)
    centres = (np.arange(*span).astype(np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    before = np.floor(centres)
    first = np.clip(before.astype(np.int64), 0, source - 1)
    second = np.clip(np.ceil(centres).astype(np.int64), 0, source - 1)
    return first, second, centres - before


def _between(first: Array, second: Array, weight: Array) -> Array:
    start = first.astype(np.float32, copy=False)
    found: Array = second.astype(np.float32)
    found -= start
    found *= weight
    found += start
    return found


def _strips(above: Array, below: Array, width: int) -> Iterator[Span]:
    """Divide the rows of a result so that each part, and the rows of the source that it needs, have STRIP pixels."""
    most = max(1, STRIP // width)
    start = 0
    while start < len(above):
        end = int(np.searchsorted(below, int(above[start]) + most, side="left"))
        end = min(max(end, start + 1), start + most, len(above))
        yield start, end
        start = end


def _pixels(image: Image.Image) -> Array:
    """Copy the pixels into an array (height, width, channels), strip by strip.

    Pillow makes two copies of the pixels that it hands over. Of a whole large picture they would take twice its memory
    once more; of a strip they take next to nothing.
    """
    channels = len(image.getbands())
    if image.width * image.height <= STRIP:
        return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)
    pixels = np.empty((image.height, image.width, channels), np.uint8)
    for left, top, right, bottom in boxes(image.size):
        piece = np.asarray(part(image, (left, top, right, bottom)), np.uint8)
        pixels[top:bottom, left:right] = piece.reshape(bottom - top, right - left, channels)
    return pixels
