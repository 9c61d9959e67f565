"""The values that a test expects of inputs: compared with those of a call by value, whatever their dtype."""

from __future__ import annotations

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.casts import surviving_cast
from tfs_client._codec.dtypes import Array, DType, row_of
from tfs_client._codec.values import Untyped, read
from tfs_client.errors import EncodeError, TFServingError
from tfs_client.recordings.differences import compare
from tfs_client.signatures import TensorSpec, shape_text

Value = Array | Untyped


def copied(array: Array) -> Array:
    """Return a copy of an array, or the array itself if its values are repeated: a copy could be huge."""
    return array if array.size and 0 in array.strides else array.copy()


def snapshot(value: object) -> Value:
    """Return a copy of a value. Raises EncodeError for one that no tensor can hold."""
    found = read(value)
    return found if isinstance(found, Untyped) else copied(found)


def mismatch(alias: str, expected: Value, got: Array, rtol: float, atol: float) -> list[str]:
    """Return in words how an input of a call differs from what is expected; an empty list if it does not."""
    try:
        wanted = _in_dtype(expected, row_of(got.dtype))
    except TFServingError as error:
        return [f"input {alias!r}: expected {summary(expected)}, got {summary(got)}: {error}"]
    try:
        difference = compare(alias, wanted, got, rtol=rtol, atol=atol)
    except TFServingError as error:  # a tensor that declares too much
        return [f"input {alias!r}: {error}"]
    return [] if difference is None else [f"input {difference}"]


def misfit(expected: Value, spec: TensorSpec, *, checks_shapes: bool) -> str:
    """Return in words why no call with such an input can have this value; "" if one can.

    Args:
        checks_shapes: whether the server refuses inputs whose shapes contradict ``spec``.
    """
    array = _array(expected)
    if spec.row.field is not None:  # not a resource, or a dtype that this version does not know
        try:
            _in_dtype(expected, spec.row)
        except TFServingError as error:
            return f"expects {spec}, got {summary(expected)}: {error}"
    if checks_shapes and not spec.accepts(array.shape):
        return f"expects {spec}, got the shape {shape_text(array.shape)}"
    return ""


def summary(value: Value) -> str:
    """Return a value in one line; without a dtype if it has none."""
    array = _array(value)
    kind = "" if isinstance(value, Untyped) else f"{row_of(array.dtype).readable} {shape_text(array.shape)} "
    return kind + expansion.summary(np.asarray(array))


def _array(value: Value) -> Array:
    return value.array if isinstance(value, Untyped) else value


def _in_dtype(value: Value, row: DType) -> Array:
    """Return a value in the dtype of an input. Raises EncodeError if it does not survive the cast.

    Python numbers become what a client makes of them; otherwise the rules are those of a call with ``cast=True``.
    """
    if isinstance(value, Untyped):
        try:
            return value.typed(row)
        except EncodeError:
            if value.array.dtype.kind not in "iufc":
                raise
    array = _array(value)
    few, _ = expansion.collapsed(array, array)  # a cast of repeated values could be huge
    return np.broadcast_to(surviving_cast(few, row), array.shape)


def is_comparable(expected: Value, got: Array) -> bool:
    """Return whether an input of a call has the shape of a value, and a dtype that can hold it."""
    return not misfit(expected, TensorSpec(row_of(got.dtype), got.shape), checks_shapes=True)
