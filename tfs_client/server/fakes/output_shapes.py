"""The shapes of a fake's outputs. Sizes that the signature leaves open follow the inputs where those suggest one.

An open axis of an output is as long as, in this order:

1. an open axis of an input with the same name, if the model names its sizes;
2. for the first axis, the batch: the first axis of the first input whose first axis is open too;
3. the same axis of an input with as many axes, then of any other input, where it is open too;
4. otherwise 1.

An output of unknown rank has the shape of an input of unknown rank, if there are several that of the one with the same
alias; without one, the batch as its only axis. "classes" and "scores" of a signature that classifies have two axes of
the same sizes. Inputs are in the order of their aliases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import Array
from tfs_client.server.inference_checks import CLASSES, INPUT, SCORES
from tfs_client.signatures import Signature, TensorSpec

Shape = tuple[int, ...]
UNNAMED = AxisNames({}, {})


class _Given(NamedTuple):
    """An input as it was sent."""

    alias: str
    spec: TensorSpec
    shape: Shape
    names: Sequence[str]

    def is_open(self, axis: int) -> bool:
        """Return whether the signature leaves the size of an axis open."""
        return axis < len(self.shape) and (self.spec.shape is None or self.spec.shape[axis : axis + 1] == (None,))


def output_shapes(signature: Signature, inputs: Mapping[str, Array], names: AxisNames = UNNAMED) -> dict[str, Shape]:
    """Return the shape of every output. ``inputs`` has every input of the signature, of any shape."""
    given = [
        _Given(alias, spec, inputs[alias].shape, names.inputs.get(alias, ()))
        for alias, spec in sorted(signature.inputs.items())
    ]
    named: dict[str, int] = {}
    for each in given:
        for axis, name in enumerate(each.names):
            if name and each.is_open(axis):
                named.setdefault(name, each.shape[axis])
    batch = next((each.shape[0] for each in given if each.is_open(0)), None)
    width = _width(signature)
    shapes = {}
    for alias, spec in signature.outputs.items():
        axes = [named.get(name) for name in names.outputs.get(alias, ())]
        shapes[alias] = _classified(spec, batch, width) if width else _shape(alias, spec, axes, given, batch)
    return shapes


def _shape(
    alias: str, spec: TensorSpec, named: Sequence[int | None], given: Sequence[_Given], batch: int | None
) -> Shape:
    if spec.shape is None:
        unknown = {each.alias: each.shape for each in given if each.spec.shape is None}
        return unknown.get(alias, next(iter(unknown.values()), () if batch is None else (batch,)))
    found = []
    for axis, size in enumerate(spec.shape):
        sizes = [size, named[axis] if axis < len(named) else None, batch if axis == 0 else None]
        found.append(next((each for each in sizes if each is not None), _size(axis, len(spec.shape), given)))
    return tuple(found)


def _size(axis: int, rank: int, given: Sequence[_Given]) -> int:
    ranked = sorted(given, key=lambda each: len(each.shape) != rank)
    return next((each.shape[axis] for each in ranked if each.is_open(axis)), 1)


def _width(signature: Signature) -> int:
    """Return the number of classes if the signature classifies, else 0."""
    if {*signature.inputs} != {INPUT} or not {CLASSES, SCORES}.issuperset(signature.outputs):
        return 0
    known = (spec.shape[1] for spec in signature.outputs.values() if spec.shape and len(spec.shape) == 2)
    return next((size for size in known if size), 1)


def _classified(spec: TensorSpec, batch: int | None, width: int) -> Shape:
    rows, classes = spec.shape if spec.shape and len(spec.shape) == 2 else (None, None)
    if spec.shape is not None and len(spec.shape) != 2:  # it cannot classify; Predict may still call it
        return _shape("", spec, (), (), batch)
    return (batch or 1) if rows is None else rows, width if classes is None else classes
