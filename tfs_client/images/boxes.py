"""Boxes: the conversion from a tensor to the picture, overlap, and non-maximum suppression.

A box is its left, top, right and bottom edge; several are an array (count, 4).
"""

from __future__ import annotations

import math

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError
from tfs_client.images.geometry import Geometry

MOST_CANDIDATES = 30_000  # boxes that are compared with each other: those with the best scores
TOLERANCE = 1e-3  # of scores that should lie between 0 and 1: float16 and bfloat16 round


def check_scores(scores: Array, alias: str) -> None:
    """Raise DecodeError unless scores are numbers from 0 to 1."""
    if not scores.size:
        return
    low, high = float(scores.min()), float(scores.max())  # NaN, if there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DecodeError(f"expected scores from 0 to 1 in output {alias!r}, got NaN or infinity")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise DecodeError(
            f"expected scores from 0 to 1 in output {alias!r}, got {low:g} to {high:g}: its layout is another one"
        )


def check_boxes(boxes: Array, alias: str) -> None:
    """Raise DecodeError unless the edges of boxes are numbers, and in order."""
    if not np.isfinite(boxes).all():
        raise DecodeError(f"expected numbers as boxes in output {alias!r}, got NaN or infinity")
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if wrong.any():
        raise DecodeError(
            f"expected boxes with edges in order in output {alias!r}, "
            f"got left, top, right, bottom {shown(boxes[wrong][0].tolist())}"
        )


def in_picture(boxes: Array, geometry: Geometry) -> Array:
    """Return which boxes, in pixels of the tensor, cover a part of the picture, as bool (count,)."""
    clipped = geometry.to_source(boxes)
    return np.asarray((clipped[:, 2:] > clipped[:, :2]).all(axis=1))


def overlaps(box: Array, boxes: Array) -> Array:
    """Return the intersection over union of a box, (4,), with others, as floats (count,); 0 for boxes without area."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0))


def non_maximum_suppression(boxes: Array, scores: Array, classes: Array, *, iou: float, most: int) -> list[int]:
    """Return the indices of the boxes that stay, best first.

    A box stays unless one of its class that scores better and stays overlaps it by more than ``iou``. Of equal scores
    the earlier counts as better. Time grows with the boxes times those that stay; only the MOST_CANDIDATES best are
    considered.

    Args:
        boxes: (count, 4) float64.
        scores: (count,).
        classes: (count,).
        iou: intersection over union, 0 to 1.
        most: the largest number of boxes that stay.
    """
    left = best_first(scores)[:MOST_CANDIDATES]
    kept: list[int] = []
    while left.size and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = (classes[left] == classes[first]) & (overlaps(boxes[first], boxes[left]) > iou)
        left = left[~same]
    return kept


def best_first(scores: Array) -> Array:
    """Return the indices of scores from the highest to the lowest; equal ones keep their order."""
    return np.argsort(-scores, kind="stable")
