"""The output layout of exported YOLOv8 detectors, which later versions share (YOLO11, YOLOv9).

One output of floats (4 + classes, anchors), or its transpose: for each anchor centre x, centre y, width and height, and
a score from 0 to 1 for each class. Classes are counted from 0. The model leaves non-maximum suppression to its caller.

**Pixels or parts.** Some exports have boxes in pixels of the tensor, others (those of TensorFlow) in parts of it, from
0 to 1. The centres of the anchors cover the whole tensor, so they show it: if none exceeds 2, boxes are in parts.
Pixels need the size of the tensor.

**Axes.** The anchors are on the axis that has as many as the tensor has. If its size is not known, or neither axis has
as many, they are on the longer one, provided that the other cannot be theirs. Otherwise it is an error.

**What it is not.** The shape hardly says what it holds. So the layout is recognised by itself only if the number of
anchors is that of the tensor's size: one for each cell of 8, 16 and 32 pixels, 8400 for 640x640. With the task "detect"
other numbers are accepted, too. YOLOv5 (three times as many anchors) and models with masks (a second output) are
refused. Models of poses and of turned boxes append values to the classes; scores beyond 0 to 1 are refused, but only
labels, whose number is compared with the number of classes, always uncover them.
"""

from __future__ import annotations

import math

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.images.boxes import (
    MOST_CANDIDATES,
    best_first,
    check_boxes,
    check_scores,
    in_picture,
    non_maximum_suppression,
)
from tfs_client.images.decoders import AnswerOptions, Outputs, Specs
from tfs_client.images.geometry import Geometry, Size
from tfs_client.images.objects import Detection, Detections
from tfs_client.signatures import Shape

_STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))  # the usual, and those of the variants P2 and P6
_CELLS = (21, 85)  # anchors of each 32x32 pixels (strides 8, 16, 32), or 64x64 pixels (P6) or 32x32 (P2)
_FEWEST = 336  # anchors of a tensor of 128x128; smaller ones are hardly used
_PARTS = 2.0  # the largest centre of boxes in parts of the tensor
_FLOATS = ("float", "double", "half", "bfloat16")
_BOX = 4  # values before the scores


class YoloV8:
    """Reads detections in the layout of YOLOv8; see the module."""

    name = "yolov8"
    task = "detect"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases of floats that are shaped like scores and boxes of anchors."""
        found = []
        for alias, spec in specs.items():
            if spec.row.name not in _FLOATS or spec.shape is None:
                continue
            if len(spec.shape) == 3:  # the masks of a segmenting model: values after the classes belong to them
                return []
            if len(spec.shape) != 2 or None in spec.shape:
                continue
            shape = _sizes(spec.shape)
            axis = None if size is None else _anchor_axis(shape, size)
            sure = axis is not None and size is not None and shape[axis] == _anchors(size, _STRIDES[0])
            if shape[0] != shape[1] and min(shape) > _BOX and (explicit or sure):
                found.append(alias)
        return found

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return the number of classes; None if the shape does not show which axis they are on."""
        shape = _sizes(specs[options.output].shape or ())
        axis = _anchor_axis(shape, size)
        return None if axis is None else shape[1 - axis] - _BOX

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Detections:
        """Return the detections, best first, after non-maximum suppression among the boxes of each class.

        An anchor counts for its best class. At most 30,000 anchors are compared, those with the best scores. Boxes
        without a part in the picture are left out. Raises DecodeError for outputs that do not have the layout or
        contain NaN, ConfigError for another number of names than of classes, and where the size of the tensor, which is
        not known, matters.
        """
        alias = options.output
        values = _values(outputs, alias, geometry)
        if options.labels is not None:
            options.labels.check(len(values) - _BOX)
        check_scores(values[_BOX:], alias)
        classes = values[_BOX:].argmax(axis=0)
        scores = values[_BOX:].max(axis=0).clip(0, 1)
        scale = _scale(values, geometry, alias)
        chosen = np.flatnonzero(scores >= options.min_score)
        chosen = chosen[best_first(scores[chosen])[:MOST_CANDIDATES]]
        centres, sides = (values[rows][:, chosen].astype(np.float64).T for rows in (slice(0, 2), slice(2, 4)))
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1) * (scale * 2)
        check_boxes(boxes, alias)
        inside = in_picture(boxes, geometry)
        chosen, boxes = chosen[inside], boxes[inside]
        kept = non_maximum_suppression(
            boxes, scores[chosen], classes[chosen], iou=options.iou, most=options.max_detections
        )
        edges = geometry.to_source(boxes[kept]).tolist()
        numbers = classes[chosen[kept]].tolist()
        items = [
            Detection(
                f"class {number}" if options.labels is None else options.labels.required_name(number),
                score,
                number,
                (box[0], box[1], box[2], box[3]),
            )
            for number, score, box in zip(numbers, scores[chosen[kept]].tolist(), edges, strict=True)
        ]
        return Detections(items, geometry.source, self.name)


def _anchors(size: Size, strides: tuple[int, ...]) -> int:
    return sum(math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in strides)


def _sizes(shape: Shape) -> tuple[int, int]:
    rows, columns = (length or 0 for length in shape)
    return rows, columns


def _anchor_axis(shape: tuple[int, int], size: Size | None) -> int | None:
    """Return the axis of the anchors, 0 or 1; None if the shape does not show it.

    It is the one with as many as the tensor has. If the size of the tensor is not known, or neither axis has as many,
    the shorter axis cannot be that of the anchors if it is too short for a tensor of 128x128, or has another number
    than tensors have, and the longer one has such a number.
    """
    if size is not None:
        fits = [length in (_anchors(size, strides) for strides in _STRIDES) for length in shape]
    else:
        fits = [length >= _FEWEST and 0 in (length % cells for cells in _CELLS) for length in shape]
    if fits[0] != fits[1]:
        return fits.index(True)
    short = min(shape) < _FEWEST and not (size is not None and fits[0])
    return shape.index(max(shape)) if short and shape[0] != shape[1] else None


def _values(outputs: Outputs, alias: str, geometry: Geometry) -> Array:
    """Return the output as (4 + classes, anchors)."""
    if alias not in outputs:
        raise DecodeError(f"expected an output {alias!r}, got none")
    array = outputs[alias]
    if array.ndim != 2 or array.shape[0] == array.shape[1] or not min(array.shape) > _BOX:
        raise DecodeError(
            f"expected output {alias!r} of shape (4 + classes, anchors) or its transpose, got {shown(array.shape)}"
        )
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise DecodeError(f"expected floats in output {alias!r}, got {array.dtype}")
    expansion.check_copy(array, f"output {alias!r}")
    if any(other.ndim == 3 for other in outputs.values()):
        raise DecodeError("the outputs are those of a YOLO model with masks, which cannot be read: expected boxes only")
    axis = _anchor_axis((array.shape[0], array.shape[1]), geometry.target if geometry.known else None)
    if axis is None:
        raise _unclear(array, alias, geometry)
    values = array.T if axis == 0 else array
    return values.astype(np.float32) if array.dtype.itemsize < 4 else values


def _unclear(array: Array, alias: str, geometry: Geometry) -> DecodeError | ConfigError:
    shape = (
        f"output {alias!r} has the shape {shown(array.shape)}, which does not show which axis is that of the anchors"
    )
    if not geometry.known:
        return ConfigError(f"{shape}: preparation= says how the picture was sent")
    return DecodeError(f"{shape} of a tensor of {geometry.target[0]}x{geometry.target[1]} pixels")


def _scale(values: Array, geometry: Geometry, alias: str) -> tuple[float, float]:
    """Return what turns centres and sides into pixels of the tensor."""
    anchors, target = values.shape[1], geometry.target
    fits = geometry.known and anchors in (_anchors(target, strides) for strides in _STRIDES)
    side = 32 * math.isqrt(anchors // 63)  # of a square tensor with three anchors in each cell
    if not fits and anchors in (3 * _anchors(target, _STRIDES[0]), 3 * _anchors((side, side), _STRIDES[0])):
        raise DecodeError(f"output {alias!r} has {anchors} anchors, as YOLOv5 has them: expected the layout of YOLOv8")
    centres = values[:2]
    if not np.isfinite(centres).all():
        raise DecodeError(f"expected numbers as boxes in output {alias!r}, got NaN or infinity")
    if float(centres.max()) <= _PARTS:
        return float(target[0]), float(target[1])
    if not geometry.known:
        raise ConfigError(
            f"output {alias!r} has boxes in pixels of the tensor, whose size is not known: preparation= says how the "
            "picture was sent; a model that gets the file itself must return parts, from 0 to 1"
        )
    if not fits:
        raise DecodeError(
            f"output {alias!r} has {anchors} anchors, which do not fit a tensor of {target[0]}x{target[1]} pixels: "
            "preparation= says how the picture was sent"
        )
    return 1.0, 1.0
