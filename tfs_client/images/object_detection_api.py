"""The output layout of the TensorFlow Object Detection API.

| output | one picture's shape | meaning |
|---|---|---|
| detection_boxes | (N, 4) | top, left, bottom, right, from 0 to 1 of the tensor that was sent |
| detection_scores | (N,) | from 0 to 1 |
| detection_classes | (N,) | whole numbers, as floats or integers, counted from 1 |
| num_detections | () or (1,) | how many of the N count; all if it is missing |
| detection_masks | (N, h, w) | floats, each a grid over its box; or 0 and 1, or floats, in the tensor's size |

Further outputs, such as raw_detection_boxes, are not read.

**Class names.** Classes are numbered from 1; 0 is the background, which is never returned. So a file may be off by one:

- A list starts at class 0 if its first name is "background" or the like ("???", "none", "unlabeled"). Otherwise it is
  taken to start at class 1. ``AnswerReader.assumed`` says so, unless outputs show the number of classes.
- A file that gives the numbers (JSON with ids, a label map) is used as it is. If it gives number 0 to anything but the
  background, it is refused, because it counts differently: the offset -1 makes number 0 the name of class 1.
- With an offset, also with 0, the name of class i is ``names[i + offset]``, whatever the file is.
- A class without a name is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.images.boxes import best_first, check_boxes, check_scores, in_picture
from tfs_client.images.decoders import AnswerOptions, Outputs, Specs
from tfs_client.images.geometry import Geometry
from tfs_client.images.labels import BACKGROUND, Labels, option
from tfs_client.images.masks import Mask
from tfs_client.images.objects import Detection, Detections

BOXES, SCORES, CLASSES = "detection_boxes", "detection_scores", "detection_classes"
COUNT, MASKS = "num_detections", "detection_masks"

_WITH_BACKGROUND = ("detection_multiclass_scores", "raw_detection_scores")  # (N, classes + 1), the first the background
_FROM_0 = f"if the model counts from 0, use {option(0)}"
_FARTHEST = 1.0  # how far beyond the tensor an edge may lie, in its widths: models cut boxes off, or nearly so
_LARGEST_GRID = 128  # cells a side of a mask over its box; models have 15 to 112


class ObjectDetectionApi:
    """Reads detections in the layout of the TensorFlow Object Detection API; see the module."""

    name = "object-detection-api"
    task = "detect"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the alias of the boxes, if the outputs are named and shaped as the API does it."""
        found = all(alias in specs for alias in (BOXES, SCORES, CLASSES))
        shape = specs[BOXES].shape if found else None
        return [BOXES] if shape is not None and len(shape) == 2 and shape[1] in (4, None) else []

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return the number of names that the model needs, if outputs with a score per class show it."""
        labels = None if options.labels is None else _from_class_1(options.labels)
        classes = _with_background(specs)
        if labels is None or labels.numbered or classes is None:
            return None
        return classes if labels is options.labels else classes - 1

    def assumed(self, specs: Specs, options: AnswerOptions) -> tuple[str, ...]:
        """Return that a list of names is taken to start at class 1, where nothing confirms it."""
        labels = options.labels
        if labels is None or _from_class_1(labels) is labels or _with_background(specs) is not None:
            return ()
        file = f" in {shown(labels.source)}" if labels.source else ""
        return (
            f"the names{file} were assumed to start with that of class 1, {shown(labels.names[0])}, as models of this "
            f"layout count from 1: {option(-1)} confirms it; {_FROM_0}",
        )

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Detections:
        """Return the detections, best first.

        Boxes without a part in the picture are left out. Raises DecodeError for outputs that do not have the layout or
        contain NaN, ConfigError for classes without a name.
        """
        for alias in (BOXES, SCORES, CLASSES, COUNT, MASKS):
            if alias in outputs:
                expansion.check_copy(outputs[alias], f"output {alias!r}")
        count = _count(outputs)
        scores = outputs[SCORES][:count].astype(np.float64)
        check_scores(scores, SCORES)
        scores = scores.clip(0, 1)
        chosen = np.flatnonzero(scores >= options.min_score)
        boxes = _tensor_boxes(outputs[BOXES][:count][chosen], geometry)
        inside = in_picture(boxes, geometry)
        chosen, boxes = chosen[inside], boxes[inside]
        best = best_first(scores[chosen])[: options.max_detections]
        chosen, boxes = chosen[best], boxes[best]
        numbers = _numbers(outputs[CLASSES][chosen])
        names = _names(options.labels, numbers)
        masks = _Masks.of(outputs, geometry)
        edges = geometry.to_source(boxes).tolist()
        items = [
            Detection(
                names[item],
                float(scores[index]),
                numbers[item],
                (edges[item][0], edges[item][1], edges[item][2], edges[item][3]),
                None if masks is None else masks.mask(int(index), boxes[item]),
            )
            for item, index in enumerate(chosen.tolist())
        ]
        return Detections(items, geometry.source, self.name)


def _with_background(specs: Specs) -> int | None:
    """Return the number of classes with the background; None if the outputs do not show it."""
    for alias in _WITH_BACKGROUND:
        shape = specs[alias].shape if alias in specs else None
        if shape is not None and len(shape) == 2 and shape[1] is not None:
            return shape[1]
    return None


def _count(outputs: Outputs) -> int:
    """Return the number of detections, after checking that the shapes agree."""
    missing = [alias for alias in (BOXES, SCORES, CLASSES) if alias not in outputs]
    if missing:
        raise DecodeError(f"expected the outputs {BOXES}, {SCORES} and {CLASSES}, got no {missing[0]}")
    boxes = outputs[BOXES]
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DecodeError(f"expected output {BOXES!r} of shape (N, 4), got {shown(boxes.shape)}")
    rows = len(boxes)
    for alias in (SCORES, CLASSES):
        if outputs[alias].shape != (rows,):
            raise DecodeError(
                f"expected output {alias!r} of shape ({rows},), as {BOXES!r} has {rows} boxes, "
                f"got {shown(outputs[alias].shape)}"
            )
    for alias in (BOXES, SCORES, CLASSES):
        if not _is_number(outputs[alias]):
            raise DecodeError(f"expected numbers in output {alias!r}, got {outputs[alias].dtype}")
    if COUNT not in outputs:
        return rows
    array = outputs[COUNT]
    if array.size != 1 or not _is_number(array):
        raise DecodeError(f"expected one number in output {COUNT!r}, got {array.dtype} {shown(array.shape)}")
    count = float(array.reshape(()).astype(np.float64))
    if not (0 <= count <= rows and count == int(count)):
        raise DecodeError(f"expected output {COUNT!r} from 0 to {rows}, the number of boxes, got {count:g}")
    return int(count)


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "iuf" or array.dtype.name == "bfloat16"


def _tensor_boxes(found: Array, geometry: Geometry) -> Array:
    """Convert boxes of the API to left, top, right, bottom in pixels of the tensor."""
    boxes = found.astype(np.float64)[:, [1, 0, 3, 2]]
    check_boxes(boxes, BOXES)
    if boxes.size and not (boxes.min() >= -_FARTHEST and boxes.max() <= 1 + _FARTHEST):
        raise DecodeError(
            f"expected output {BOXES!r} as parts of the picture, from 0 to 1, got {boxes.min():g} to {boxes.max():g}: "
            "its layout is another one"
        )
    return boxes * (*geometry.target, *geometry.target)


def _numbers(found: Array) -> list[int]:
    values = found.astype(np.float64)
    whole = np.isfinite(values) & (values == np.floor(values)) & (values >= 0) & (values < 2**31)
    if not whole.all():
        raise DecodeError(f"expected class numbers from 0 in output {CLASSES!r}, got {values[~whole][0]:g}")
    return [int(value) for value in values.tolist()]


def _from_class_1(labels: Labels) -> Labels:
    """Return the names with the offset that the layout needs. Raises ConfigError for files that count from 0."""
    first = labels.names.get(0)
    if labels.offset is not None or first is None or first.strip().casefold() in BACKGROUND:
        return labels
    if labels.numbered:
        raise ConfigError(
            f"expected class numbers from 1, as detection models of this layout have them, got 0 for {shown(first)} in "
            f"{shown(labels.source or 'the labels')}: use {option(-1)} if it names class 1; {_FROM_0}"
        )
    return replace(labels, offset=-1)


def _names(labels: Labels | None, numbers: list[int]) -> list[str]:
    if labels is None:
        return [f"class {number}" for number in numbers]
    found = _from_class_1(labels)
    if found is not labels and 0 in numbers:
        raise ConfigError(
            f"the model returned class 0, but in this layout the first name is that of class 1; {_FROM_0}"
        )
    if labels.offset is None and 0 in numbers and 0 in labels.names:
        raise ConfigError(
            f"the model returned class 0, which is the background in this layout and {shown(labels.names[0])} in the "
            f"labels; if the model counts from 0, use {option(1)}"
        )
    return [found.required_name(number) for number in numbers]


@dataclass(frozen=True)
class _Masks:
    """The masks, and whether each is a grid over its box or over the whole tensor."""

    array: Array
    over_tensor: bool
    geometry: Geometry

    @classmethod
    def of(cls, outputs: Outputs, geometry: Geometry) -> _Masks | None:
        if MASKS not in outputs:
            return None
        array = outputs[MASKS]
        rows = len(outputs[BOXES])
        if array.ndim != 3 or len(array) != rows or not array[:1].size >= min(rows, 1):
            raise DecodeError(f"expected output {MASKS!r} of shape ({rows}, height, width), got {shown(array.shape)}")
        if not (_is_number(array) or array.dtype.kind == "b"):
            raise DecodeError(f"expected numbers in output {MASKS!r}, got {array.dtype}")
        over_tensor = array.shape[1:] == geometry.target[::-1]
        if not over_tensor and (array.dtype.kind in "iub" or max(array.shape[1:]) > _LARGEST_GRID):
            width, height = geometry.target
            raise DecodeError(
                f"expected output {MASKS!r} as floats over each box, or of the tensor's size, ({rows}, {height}, "
                f"{width}), got {array.dtype} {shown(array.shape)}; preparation= says which size was sent"
            )
        return cls(array, over_tensor, geometry)

    def mask(self, index: int, box: Array) -> Mask:
        """Return the mask of a detection with a box in pixels of the tensor."""
        grid = self.array[index]
        if self.over_tensor:  # keep the part in the box, rounded outwards to whole pixels
            size = np.array(self.geometry.target)
            start = np.clip(np.floor(box[:2]), 0, size - 1).astype(np.int64)
            stop = np.clip(np.ceil(box[2:]), start + 1, size).astype(np.int64)
            grid = grid[start[1] : stop[1], start[0] : stop[0]]
            box = np.concatenate([start, stop])
        if grid.dtype.kind in "iu":
            if grid.size and not (grid.min() >= 0 and grid.max() <= 1):
                raise DecodeError(
                    f"expected 0 and 1 in output {MASKS!r} of {grid.dtype}, got {grid.min()} to {grid.max()}"
                )
            grid = grid != 0
        elif grid.dtype.kind != "b":
            grid = grid.astype(np.float32)
            check_scores(grid, MASKS)
            grid = grid > 0.5 if self.over_tensor else grid
        edges = self.geometry.to_source(box[None], clip=False)[0].tolist()
        return Mask(grid.copy(), (edges[0], edges[1], edges[2], edges[3]))
