"""Label maps: a label for each pixel, as DeepLab returns them, or scores for each pixel and label.

| one picture's shape | dtype | meaning |
|---|---|---|
| (h, w) or (h, w, 1) | integers, bool | labels |
| (h, w, labels) | floats | scores: the best label of each pixel counts |

By itself a map is recognised if it has the size of the tensor, 8 pixels a side at least, and floats have more than four
labels: an array with fewer channels may be a picture. With the task "segment" a map of any size is accepted if it has
the shape of the tensor, which it covers. Labels are preferred to scores.
"""

from __future__ import annotations

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError
from tfs_client.images.decoders import AnswerOptions, Outputs, Specs
from tfs_client.images.geometry import Geometry, Size
from tfs_client.images.labels import Labels
from tfs_client.images.segments import Segmentation, Share
from tfs_client.signatures import TensorSpec

MAP_SIDE = 8  # pixels; smaller arrays are not taken for maps unless the task says so
_PICTURE = 4  # channels that a picture may have
_STRETCHED = 1.5  # how far the shapes of a map and of the tensor may differ: small maps are rounded
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
_FLOATS = ("float", "double", "half", "bfloat16")


class LabelMap:
    """Reads label maps; see the module."""

    name = "label-map"
    task = "segment"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases of label maps or, without any, those of maps of scores."""
        labels = [alias for alias, spec in specs.items() if _is_labels(spec, size, explicit)]
        return labels or [alias for alias, spec in specs.items() if _is_scores(spec, size, explicit)]

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return the number of labels, if the output has a score for each."""
        spec = specs[options.output]
        if spec.row.name not in _FLOATS or spec.shape is None or len(spec.shape) != 3:
            return None
        return spec.shape[2]

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Segmentation:
        """Return the map, and the share of each label among the pixels of the picture.

        Raises DecodeError for outputs that do not have the layout, scores that contain NaN and labels below 0;
        ConfigError for labels without a name.
        """
        alias = options.output
        if alias not in outputs:
            raise DecodeError(f"expected an output {alias!r}, got none")
        expansion.check_copy(outputs[alias], f"output {alias!r}")
        labels = _labels(outputs[alias], geometry.target, alias)
        rows, columns = geometry.visible((labels.shape[0], labels.shape[1]))
        found, counts = np.unique(labels[rows, columns], return_counts=True)
        for number in found if options.labels is not None else ():
            _name(options.labels, int(number))  # also of those that are not among the largest
        largest = np.argsort(-counts, kind="stable")[: options.top]
        total = max(int(counts.sum()), 1)
        shares = [
            Share(_name(options.labels, number), count / total, number)
            for number, count in zip(found[largest].tolist(), counts[largest].tolist(), strict=True)
        ]
        return Segmentation(labels, shares, geometry, alias)


def _name(labels: Labels | None, number: int) -> str:
    return f"label {number}" if labels is None else labels.required_name(number)


def _is_labels(spec: TensorSpec, size: Size | None, explicit: bool) -> bool:
    shape = spec.shape
    if spec.row.name not in _INTEGERS or shape is None or len(shape) not in (2, 3):
        return False
    return (len(shape) == 2 or shape[2] == 1) and _fits(shape[0], shape[1], size, explicit)


def _is_scores(spec: TensorSpec, size: Size | None, explicit: bool) -> bool:
    shape = spec.shape
    if spec.row.name not in _FLOATS or shape is None or len(shape) != 3 or not _fits(*shape[:2], size, explicit):
        return False
    if shape[2] is None:
        return explicit
    if size is None:  # otherwise a batch of pictures would pass for a picture with their width as labels
        return 1 < shape[2] <= min(side or shape[2] for side in shape[:2])
    return shape[2] > (1 if explicit else _PICTURE)


def _fits(height: int | None, width: int | None, size: Size | None, explicit: bool) -> bool:
    """Return whether a map of this height and width can be that of a tensor."""
    if not explicit:
        return size is not None and (width, height) == size and min(size) >= MAP_SIDE
    if height is None or width is None or size is None:
        return 0 not in (height, width) and 1 not in (height, width)
    shape = (width * size[1], height * size[0])  # equal, but for rounding, if map and tensor have the same shape
    return 0 < max(shape) <= _STRETCHED * min(shape)


def _labels(array: Array, target: Size, alias: str) -> Array:
    """Return the labels as the smallest of int16, int32 and int64 that holds them, (height, width)."""
    if array.dtype.kind in "iub" and array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)):
        labels = array.reshape(array.shape[:2])
    elif array.ndim == 3 and array.size and (array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
        labels = _best(array, target, alias)
    else:
        raise DecodeError(
            f"expected output {alias!r} as integers (height, width) or floats (height, width, labels), "
            f"got {array.dtype} {shown(array.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int64).max:
        raise DecodeError(f"expected labels from 0 in output {alias!r}, got {low if low < 0 else high}")
    smallest = next(kind for kind in ("int16", "int32", "int64") if high <= np.iinfo(kind).max)
    return np.asarray(labels.astype(smallest))


def _best(scores: Array, target: Size, alias: str) -> Array:
    if scores.shape[2] < 2 or (scores.shape[1:] == target[::-1] and scores.shape[:2] != target[::-1]):
        raise DecodeError(
            f"expected scores (height, width, labels) of two labels at least in output {alias!r}, "
            f"got {shown(scores.shape)}"
        )
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float32)
    if not np.isfinite(scores).all():
        raise DecodeError(f"expected numbers as scores in output {alias!r}, got NaN or infinity")
    best: Array = scores.argmax(axis=2)
    return best
