"""JSON values to arrays of a dtype, with the model server's checks and texts.

Source: util/json_tensor.cc (GetDenseTensorShape, FillTensorProto, AddValueToTensor, JsonDecodeBase64Object).
There are two ways. ``array_of`` handles whole lists at once and gives up where it meets anything unusual; ``leaves``
goes value by value, knows every exception, and says what is wrong.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from tfs_client.codec.dtypes import DType
from tfs_client.errors import InvalidArgumentError, UnimplementedError
from tfs_client.server.rest.json_debug import debug_text, type_name
from tfs_client.server.rest.json_text import Repeated, bytes_of
from tfs_client.server.servable import Array

Shape = tuple[int, ...]

MAX_RANK = 32  # numpy's own limit before version 2

# The integers that a dtype takes. The narrow ones are not looked at more closely: they wrap.
INT32 = (-(1 << 31), (1 << 31) - 1)
RANGES = {
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


def is_base64(value: Any) -> bool:
    """Whether a value is ``{"b64": "…"}``, which stands for bytes."""
    return (
        isinstance(value, dict)
        and not isinstance(value, Repeated)
        and [*value] == ["b64"]
        and isinstance(value["b64"], str)
    )


def from_base64(text: str) -> bytes:
    """Standard alphabet; white space does not count; padding, of ``=`` or ``.``, is right or not there at all."""
    found = _BASE64.fullmatch(bytes_of(text).translate(None, _SPACE))
    missing = -len(found[1]) % 4 if found else 3
    if not found or missing == 3 or len(found[2]) not in (0, missing):
        raise InvalidArgumentError("Unable to base64 decode")
    return binascii.a2b_base64(found[1] + b"=" * missing)


def shape_of(value: Any) -> Shape:
    """The shape that the first elements show."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


# --- whole lists -----------------------------------------------------------------------------------------------------


def array_of(value: Any, row: DType) -> Array | None:
    """The value as an array; None when it takes a closer look to read it, or to say why not."""
    shape, flat = shape_of(value), [value]
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
    """Doubles as floats: what is too large becomes infinite, which is no error."""
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(row.dtype)


def strings(values: list[bytes]) -> Array:
    """A vector of strings; numpy would drop NULs from an array of bytes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


# --- value by value --------------------------------------------------------------------------------------------------


def leaves(value: Any, row: DType) -> tuple[Shape, list[Any]]:
    """The shape of a value and everything in it, in order. Raises CallError at the first thing that is wrong."""
    shape = shape_of(value)
    read = _reader(row)
    return shape, [read(leaf) for leaf in _walk(value, shape)]


def packed(name: str, flat: list[Any], shape: Shape, row: DType) -> Array:
    """Leaves as an array of a shape. Of more leaves than fit the first are taken, as TensorFlow does."""
    if len(shape) > MAX_RANK:
        raise InvalidArgumentError(f"tensor parsing error: {name}")
    flat = flat[: math.prod(shape)]
    if row.name == "string":
        return strings(flat).reshape(shape)
    wide = np.float64 if row.name in FLOATS else np.uint64 if row.name == "uint64" else None
    array = np.array(flat, wide) if flat else np.empty(0, row.dtype)
    return narrowed(array, row).reshape(shape)


def _walk(value: Any, shape: Shape) -> Iterator[Any]:
    """The leaves; lists may be nested deeper than Python can recurse."""
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


def _check_list(value: list[Any], level: int, shape: Shape) -> None:
    if level >= len(shape):
        raise InvalidArgumentError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise InvalidArgumentError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )


def _reader(row: DType) -> Callable[[Any], Any]:
    """How a leaf is read as a dtype."""
    bounds = RANGES.get(row.name)

    def fits(value: Any) -> bool:
        if bounds:
            return type(value) is int and bounds[0] <= value <= bounds[1]
        if row.name in FLOATS:
            return type(value) in (int, float)
        return isinstance(value, bool if row.name == "bool" else str)

    def read(value: Any) -> Any:
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
        return bytes_of(value) if row.name == "string" else value

    return read
