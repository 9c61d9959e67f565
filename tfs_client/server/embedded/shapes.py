"""Detection of drawn shapes, with the interface of the TensorFlow Object Detection API.

Not a neural network: regions of one colour are found by their edges, and compared with ideal shapes. It recognises
filled shapes with sharp edges on a plain or softly varying ground, and nothing else. The result is deterministic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.blocks import block_means
from tfs_client.server.embedded.components import labelled
from tfs_client.server.embedded.ideal_shapes import NAMES, best_fit
from tfs_client.server.embedded.regions import grown, regions
from tfs_client.signatures import DEFAULT_SIGNATURE, TensorSpec

MOST = 50  # detections in a picture; unused rows of the outputs are 0
MASK = 33  # pixels of a mask's side, whatever the size of its box
LEAST_SCORE = 0.88  # worse fits are left out
LEAST_AREA = 80  # pixels of the reduced copy; smaller patches are left out
SAME = 0.6  # a shape that overlaps more with a larger one is its inner part, within an outline of another colour

LONGEST = 800  # pixels of the reduced copy along the longer side
TIP = 12  # pixels that a region may grow beyond its smooth part
MAX_PICTURES = 64  # in a request; the masks of even the smallest picture take 200 KiB
MAX_PIXELS = 1 << 25  # in a request


Box = tuple[int, int, int, int]  # top, left, bottom, right


class Shape(NamedTuple):
    """A shape in the reduced copy of a picture: name, score, box, and which pixels of the box it covers."""

    name: str
    score: float
    box: Box
    mask: Array


def shapes(picture: Array) -> list[Shape]:
    """Return the shapes in a uint8 picture (height, width, 3), best first."""
    labels = regions(picture)
    boxes = _boxes(labels)
    chosen = _possible(labels, boxes)
    within = np.zeros(labels.shape, bool)
    for number in chosen:
        within[_window(boxes[number], TIP, labels.shape)] = True
    labels = grown(labels, picture, within)
    found = [shape for number in chosen if (shape := _shape(labels, int(number), boxes[number])) is not None]
    return _distinct(found)[:MOST]


def _boxes(labels: Array) -> Array:
    """Return top, left, bottom and right of each region, by its number: int64 (regions + 1, 4)."""
    count = int(labels.max()) + 1
    boxes = np.tile(np.array([labels.shape[0], labels.shape[1], 0, 0]), (count, 1))
    changes = np.ones(labels.shape, bool)
    changes[:, 1:-1] = (labels[:, 1:-1] != labels[:, :-2]) | (labels[:, 1:-1] != labels[:, 2:])
    rows, columns = np.nonzero(changes)  # the ends of each run
    numbers = labels[rows, columns]
    np.minimum.at(boxes[:, 0], numbers, rows)
    np.minimum.at(boxes[:, 1], numbers, columns)
    np.maximum.at(boxes[:, 2], numbers, rows + 1)
    np.maximum.at(boxes[:, 3], numbers, columns + 1)
    return boxes


def _possible(labels: Array, boxes: Array) -> Array:
    """Return the regions that may be shapes: whole ones, neither tiny nor thin.

    They are processed in windows, which may lie within one another; together they take at most four pictures.
    """
    height, width = labels.shape
    areas = np.bincount(labels.reshape(-1), minlength=len(boxes))
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2] < height) & (boxes[:, 3] < width)
    windows = sides.prod(axis=1)
    plain = whole & (areas >= LEAST_AREA // 2) & (sides.min(axis=1) * 8 >= sides.max(axis=1))
    chosen = np.flatnonzero(plain[1:]) + 1
    chosen = chosen[np.argsort(-areas[chosen], kind="stable")][: 2 * MOST]
    chosen = chosen[np.argsort(windows[chosen], kind="stable")]
    return np.asarray(chosen[np.cumsum(windows[chosen]) <= 4 * labels.size])


def _window(box: Array, margin: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    top, left, bottom, right = box.tolist()
    return (
        slice(max(0, top - margin), min(size[0], bottom + margin)),
        slice(max(0, left - margin), min(size[1], right + margin)),
    )


def _shape(labels: Array, number: int, box: Array) -> Shape | None:
    """Return the shape of a region; None if it has none."""
    window = _window(box, TIP, labels.shape)
    mask = _main_part(labels[window] == number)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if mask.sum() < LEAST_AREA:
        return None
    name, score = best_fit(mask)
    if score < LEAST_SCORE:
        return None
    top, left = window[0].start + int(rows[0]), window[1].start + int(columns[0])
    return Shape(name, score, (top, left, top + mask.shape[0], left + mask.shape[1]), mask)


def _main_part(mask: Array) -> Array:
    """Return a patch without its holes: all that is not connected with the window's border around it."""
    outside = labelled(np.pad(~mask, 1, constant_values=True))[:-1, :-1]
    filled: Array = outside[1:, 1:] != outside[0, 0]
    return filled


def _distinct(found: list[Shape]) -> list[Shape]:
    """Return the shapes, best first, without those that are the inner part of a larger one."""
    kept: list[Shape] = []
    for shape in sorted(found, key=lambda shape: -shape.mask.size):
        if all(_overlap(shape.box, other.box) <= SAME for other in kept):
            kept.append(shape)
    return sorted(kept, key=lambda shape: (-shape.score, shape.box))


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union of two boxes."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, height) * max(0, width)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def _reduced(picture: Array, block: int) -> Array:
    if block == 1:
        return picture
    down, across = (min(size, block) for size in picture.shape[:2])
    return block_means(picture, down, across)


def signatures() -> dict[str, FunctionSignature]:
    """``serving_default`` takes pictures and returns boxes, classes, scores and masks, best first."""
    return {
        DEFAULT_SIGNATURE: FunctionSignature(
            _predict,
            {"input_tensor": TensorSpec("uint8", (None, None, None, 3))},
            {
                "detection_boxes": TensorSpec("float32", (None, MOST, 4)),
                "detection_classes": TensorSpec("float32", (None, MOST)),
                "detection_masks": TensorSpec("float32", (None, MOST, MASK, MASK)),
                "detection_scores": TensorSpec("float32", (None, MOST)),
                "num_detections": TensorSpec("float32", (None,)),
            },
        )
    }


def _predict(input_tensor: Array) -> dict[str, Array]:
    if input_tensor.ndim != 4 or input_tensor.shape[3] != 3:
        raise InvalidArgumentError(f"input_tensor must have shape (?, ?, ?, 3), got {input_tensor.shape}")
    count, height, width, _ = input_tensor.shape
    if count and not (height and width):
        raise InvalidArgumentError(f"input_tensor has no pixels: {input_tensor.shape}")
    if count > MAX_PICTURES or count * height * width > MAX_PIXELS:
        raise InvalidArgumentError(
            f"input_tensor {input_tensor.shape} is too large: at most {MAX_PICTURES} pictures and {MAX_PIXELS} pixels"
        )
    outputs = {
        "detection_boxes": np.zeros((count, MOST, 4), np.float32),
        "detection_classes": np.zeros((count, MOST), np.float32),
        "detection_masks": np.zeros((count, MOST, MASK, MASK), np.float32),
        "detection_scores": np.zeros((count, MOST), np.float32),
        "num_detections": np.zeros(count, np.float32),
    }
    block = max(1, -(-max(height, width) // LONGEST))
    for row, picture in enumerate(input_tensor):
        found = shapes(_reduced(picture, block))
        outputs["num_detections"][row] = len(found)
        for place, shape in enumerate(found):
            size = np.array([height, width, height, width]) / block
            outputs["detection_boxes"][row, place] = shape.box / size
            outputs["detection_classes"][row, place] = 1 + NAMES.index(shape.name)
            outputs["detection_masks"][row, place] = _sampled(shape.mask)
            outputs["detection_scores"][row, place] = shape.score
    return outputs


def _sampled(mask: Array) -> Array:
    """Return the part of each of MASK x MASK cells that a mask covers, by 4 x 4 samples."""
    rows, columns = (((np.arange(4 * MASK) + 0.5) * (size / (4 * MASK))).astype(np.int64) for size in mask.shape)
    samples = mask[rows[:, None], columns].reshape(MASK, 4, MASK, 4)
    return np.asarray(samples.mean(axis=(1, 3)), np.float32)
