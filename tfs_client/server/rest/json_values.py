"""Conversion of JSON values to arrays of a dtype, with the model server's checks and texts.

Source: util/json_tensor.cc (GetDenseTensorShape, FillTensorProto, AddValueToTensor, JsonDecodeBase64Object).
There are two ways. ``array_of`` converts whole lists at once and returns None for anything unusual; ``leaves`` goes
value by value, knows every exception, and reports what is wrong.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeGuard

import numpy as np

from tfs_client._codec.dtypes import Array, DType
from tfs_client.errors import InvalidArgumentError, UnimplementedError
from tfs_client.server.rest.json_debug import debug_text, type_name
from tfs_client.server.rest.json_types import DuplicateNames, JsonValue, bytes_of

Shape = tuple[int, ...]
Leaf = int | float | bytes  # an element of a tensor: a bool is an int

MAX_RANK = 32  # numpy's limit before version 2

# The integers that a dtype accepts. The model server does not check the range of narrow ones: they wrap around.
INT32: tuple[int, int] = (-(1 << 31), (1 << 31) - 1)
RANGES: dict[str, tuple[int, int]] = {
    "int32": INT32,
    "int16": INT32,
    "int8": INT32,
    "uint8": INT32,
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}
FLOATS = {"float", "double"}

_SPACE = b" \t\n\v\f\r"
_BASE64 = re.compile(rb"([A-Za-z0-9+/]*)([=.]*)")


def is_base64(value: JsonValue) -> TypeGuard[dict[str, str]]:
    """Return whether a value is ``{"b64": "…"}``, which stands for bytes."""
    return (
        isinstance(value, dict)
        and not isinstance(value, DuplicateNames)
        and [*value] == ["b64"]
        and isinstance(value["b64"], str)
    )


def from_base64(text: str) -> bytes:
    """Decode base64 of the standard alphabet. White space is ignored; padding, with ``=`` or ``.``, is optional."""
    found = _BASE64.fullmatch(bytes_of(text).translate(None, _SPACE))
    missing = -len(found[1]) % 4 if found else 3
    if not found or missing == 3 or len(found[2]) not in (0, missing):
        raise InvalidArgumentError("Unable to base64 decode")
    return binascii.a2b_base64(found[1] + b"=" * missing)


def shape_of(value: JsonValue) -> Shape:
    """Return the shape of a nested list according to the first element on each level."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


# --- whole lists -----------------------------------------------------------------------------------------------------


def array_of(value: JsonValue, row: DType) -> Array | None:
    """Convert a value to an array; None if only ``leaves`` can read it, or report why it is invalid."""
    shape = shape_of(value)
    flat: list[Any] = [value]  # of lists while there are axes left, then of scalars: checked by their types
    if len(shape) > MAX_RANK:
        return None
    for size in shape:
        if set(map(type, flat)) != {list} or set(map(len, flat)) != {size}:
            return None
        flat = list(chain.from_iterable(flat))
        if not flat:
            break
    kinds = set(map(type, flat))
    if not kinds:
        return np.empty(shape, row.dtype) if _known(row) else None
    array = _flat_array(flat, kinds, row)
    return None if array is None else array.reshape(shape)


def _known(row: DType) -> bool:
    return row.name in RANGES or row.name in FLOATS or row.name in ("bool", "string")


def _flat_array(flat: list[Any], kinds: set[type], row: DType) -> Array | None:
    if row.name in FLOATS and kinds <= {int, float}:
        return narrowed(np.array(flat, np.float64), row)
    if row.name in RANGES and kinds == {int}:
        low, high = RANGES[row.name]
        if min(flat) >= low and max(flat) <= high:
            return np.array(flat, np.uint64 if high >> 63 else np.int64).astype(row.dtype)
    if row.name == "bool" and kinds == {bool}:
        return np.array(flat, np.bool_)
    if row.name == "string" and kinds == {str}:
        return strings([bytes_of(text) for text in flat])
    return None


def narrowed(array: Array, row: DType) -> Array:
    """Convert doubles to a dtype. Values that are too large become infinite, without an error."""
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(row.dtype)


def strings(values: Sequence[Leaf]) -> Array:
    """Return a vector of strings as objects: numpy's type for bytes would drop NULs at their ends."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


# --- value by value --------------------------------------------------------------------------------------------------


def leaves(value: JsonValue, row: DType) -> tuple[Shape, list[Leaf]]:
    """Return the shape of a value and its elements in order. Raises CallError at the first error."""
    shape = shape_of(value)
    read = _reader(row)
    return shape, [read(leaf) for leaf in _walk(value, shape)]


def packed(name: str, flat: list[Leaf], shape: Shape, row: DType) -> Array:
    """Return an array of these elements. Surplus elements are dropped, as TensorFlow does."""
    if len(shape) > MAX_RANK:
        raise InvalidArgumentError(f"tensor parsing error: {name}")
    flat = flat[: math.prod(shape)]
    if row.name == "string":
        return strings(flat).reshape(shape)
    wide = np.float64 if row.name in FLOATS else np.uint64 if row.name == "uint64" else None
    array = np.array(flat, wide) if flat else np.empty(0, row.dtype)
    return narrowed(array, row).reshape(shape)


def _walk(value: JsonValue, shape: Shape) -> Iterator[JsonValue]:
    """Yield the elements, without recursion: lists may be nested deeper than Python can recurse."""
    opened = [iter([value])]
    while opened:
        level = len(opened) - 1
        for item in opened[-1]:
            if isinstance(item, list):
                _check_list(item, level, shape)
                opened.append(iter(item))
                break
            if level != len(shape):
                raise InvalidArgumentError(
                    f"JSON Value: {debug_text(item)} found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            yield item
        else:
            opened.pop()


def _check_list(value: list[JsonValue], level: int, shape: Shape) -> None:
    if level >= len(shape):
        raise InvalidArgumentError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise InvalidArgumentError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )


def _reader(row: DType) -> Callable[[JsonValue], Leaf]:
    """Return the function that checks a value and reads it as an element of a dtype."""
    bounds = RANGES.get(row.name)

    def fits(value: JsonValue) -> TypeGuard[int | float | str]:
        if bounds:
            return type(value) is int and bounds[0] <= value <= bounds[1]
        if row.name in FLOATS:
            return type(value) in (int, float)
        return isinstance(value, bool if row.name == "bool" else str)

    def read(value: JsonValue) -> Leaf:
        if row.name == "string" and isinstance(value, dict):
            if not is_base64(value):
                raise InvalidArgumentError(f"JSON Value: {debug_text(value)} not formatted correctly for base64 data")
            return from_base64(value["b64"])
        if not _known(row):
            raise UnimplementedError(f"Conversion of JSON Value: {debug_text(value)} to type: {row.name}")
        if not fits(value):
            raise InvalidArgumentError(
                f"JSON Value: {debug_text(value)} Type: {type_name(value)} is not of expected type: {row.name}"
            )
        return bytes_of(value) if isinstance(value, str) else value

    return read
