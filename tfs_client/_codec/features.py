"""Write values as Features of tf.Examples, one by one or by columns (tensorflow/core/example/feature.proto).

Integers and bools become an int64_list, floats a float_list, text (as UTF-8) and bytes a bytes_list. The bytes are
those of protobuf's deterministic serialization in Python: map entries sorted by key, numbers packed, nothing for an
empty list.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np

from tfs_client._codec import varints, wire
from tfs_client._codec.containers import DATES, Rows, missing, plain, rows
from tfs_client._codec.dtypes import Array
from tfs_client._codec.values import Untyped, read
from tfs_client.errors import EncodeError

Where = Callable[[int], str]  # names a row in an error

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of Feature


def write_features(features: Mapping[str, object]) -> bytes:
    """Write a Features message of values by name; None leaves one out. Raises EncodeError, naming the feature."""
    entries = []
    for name in _sorted(features):
        value = features[name]
        if missing(value):
            continue
        try:
            entries.append(entry(name, feature(value)))
        except EncodeError as error:
            raise EncodeError(f"feature {name!r}: {error}") from error.__cause__
    return b"".join(entries)


def write_columns(columns: Mapping[str, Rows], count: int) -> list[bytes]:
    """Write a Features message for each of ``count`` rows of columns by name; None in a column leaves a feature out.

    A column has one kind of numbers: if one row is a float, Python integers become floats too.

    Raises EncodeError, naming the example and the feature.
    """
    parts = []
    for name in _sorted(columns):
        heads: dict[int, bytes] = {}
        part = []
        for found in column(columns[name], lambda index, name=name: f"example {index}: feature {name!r}"):  # type: ignore[misc]
            if found is None:
                part.append(b"")
                continue
            head = heads.get(len(found))
            if head is None:  # the bytes before the feature, the same for all features of that size
                head = heads[len(found)] = entry(name, found)[: -len(found) or None]
            part.append(head + found)
        parts.append(part)
    return list(map(b"".join, zip(*parts, strict=True))) if parts else [b""] * count


def write_lists(features: Mapping[str, object]) -> bytes:
    """Write a FeatureLists message of steps by name; None leaves one out. Raises EncodeError."""
    entries = []
    for name in _sorted(features):
        if missing(features[name]):
            continue
        try:
            steps = rows(features[name], "expected a list of steps")
        except EncodeError as error:
            raise EncodeError(f"feature {name!r}: {error}") from error.__cause__
        found = column(steps, lambda index, name=name: f"feature {name!r}: step {index}")  # type: ignore[misc]
        entries.append(entry(name, b"".join(wire.delimited(1, step or b"") for step in found)))
    return b"".join(entries)


def column(values: Rows, where: Where) -> list[bytes | None]:
    """Write a Feature for each row, None for missing ones. Raises EncodeError, naming the row."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind != "O":
            with suppress(EncodeError):
                return list(_of_rows(values))
        return list(_one_by_one(list(values), where))  # to name the row of an invalid value
    if len(here := [value for value in values if value is not None]) == len(values):
        return list(_of_list(values, where))
    found = iter(_of_list(here, where) if here else ())
    return [None if value is None else next(found) for value in values]


def feature(value: object) -> bytes:
    """Write a Feature of a number, text, bytes, or a list or array of them. Raises EncodeError."""
    writer = _SIMPLE.get(type(value))
    if writer is not None and (found := writer(value)) is not None:
        return found
    return _of(_read(value))


def entry(name: str, payload: bytes) -> bytes:
    """Write an entry of a map from name to message, as field 1."""
    return wire.delimited(1, _key(name) + wire.delimited(2, payload))


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return wire.delimited(1, wire.utf8(name, "a feature's name"))


def _sorted(features: Mapping[str, object]) -> list[str]:
    """Sort names as the deterministic serialization of protobuf's Python package (upb) does: by their bytes, but a
    name comes after those that begin with it.
    """
    return sorted(features, key=_rank)


@lru_cache(maxsize=1024)
def _rank(name: str) -> bytes:
    return wire.utf8(name, "a feature's name") + b"\xff"  # above all bytes of UTF-8


# --- single values --------------------------------------------------------------------------------------------------


def _of_float(value: float) -> bytes | None:
    try:
        return b"\x12\x06\x0a\x04" + struct.pack("<f", value)
    except OverflowError:
        return None  # the general path reports the error


def _of_int(value: int) -> bytes | None:
    if 0 <= value < 0x80:
        return b"\x1a\x03\x0a\x01" + bytes((value,))
    if -(1 << 63) <= value < 1 << 63:
        return wire.delimited(_INT64_LIST, wire.delimited(1, wire.signed_varint(value)))
    return None


def _of_bytes(value: bytes) -> bytes | None:
    return wire.delimited(_BYTES_LIST, wire.delimited(1, value))


def _of_text(value: str) -> bytes | None:
    return _of_bytes(wire.utf8(value, "text"))


def _of_short_list(values: Sequence[Any]) -> bytes | None:
    """Write a list that is too short to be worth an array."""
    kinds = set(map(type, values))
    if len(values) > _SHORT or not kinds:
        return None
    if kinds <= {str, bytes}:
        return _of_texts(values)
    if float in kinds and kinds <= {float, int, bool}:
        try:
            return _packed(_FLOAT_LIST, struct.pack(f"<{len(values)}f", *values))
        except OverflowError:
            return None
    if kinds <= {int, bool} and min(values) >= -(1 << 63) and max(values) < 1 << 63:
        return _packed(_INT64_LIST, b"".join(map(wire.signed_varint, values)))
    return None


_SHORT = 64  # elements
_BYTES_LIKE = (bytearray, memoryview)

_SIMPLE: Mapping[type, Callable[[Any], bytes | None]] = {
    float: _of_float,
    int: _of_int,
    bool: _of_int,
    str: _of_text,
    bytes: _of_bytes,
    list: _of_short_list,
    tuple: _of_short_list,
}


def _read(value: object) -> Array | Untyped:
    if isinstance(value, _BYTES_LIKE):  # in an example these are bytes, not numbers
        return read(bytes(value))
    value = plain(value)
    if isinstance(value, (list, tuple)) and any(isinstance(item, _BYTES_LIKE) for item in value):
        value = [bytes(item) if isinstance(item, _BYTES_LIKE) else item for item in value]
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "") in ("M", "m") or hasattr(value, "isoformat") or hasattr(value, "total_seconds"):
        raise EncodeError(DATES)
    return read(value)


def _of(found: Array | Untyped) -> bytes:
    """Write a Feature with all values of an array."""
    array = _array(found)
    if isinstance(found, Untyped):
        if not array.size:
            return b""  # an empty list has no dtype: a feature without values
        if array.dtype.kind == "O":
            found.typed()  # integers beyond 64 bits: raises
    array = _checked(array)
    if array.dtype.kind == "f":
        return _packed(_FLOAT_LIST, _float32(array).tobytes())
    if array.dtype.kind in "biu":
        return _packed(_INT64_LIST, varints.encode(array.reshape(-1).astype(np.int64)))
    return _of_texts(array.reshape(-1).tolist())


def _checked(array: Array) -> Array:
    """Return an array with a dtype that an example can hold. Raises EncodeError."""
    kind = array.dtype.kind
    if kind == "V" and array.dtype.type.__module__.startswith("ml_dtypes"):
        return array.astype(np.int64 if array.dtype.name.startswith(("int", "uint")) else np.float32)
    if kind not in "biufOSU" or (kind == "u" and array.size and int(array.max()) >> 63):
        raise EncodeError(f"expected int64, float32 or bytes for an example, got {array.dtype}")
    return array


def _packed(number: int, data: bytes) -> bytes:
    """Write a Feature of packed numbers. Protobuf writes nothing for an empty list."""
    return wire.delimited(number, wire.delimited(1, data) if data else b"")


# --- columns --------------------------------------------------------------------------------------------------------


def _of_list(values: Sequence[object], where: Where) -> Sequence[bytes]:
    """Write Features of a list without missing rows: together if they form one array, else one by one."""
    kinds = set(map(type, values))
    if not kinds.isdisjoint(_BYTES_LIKE):
        return _one_by_one(values, where)
    with suppress(EncodeError):  # for rows of different lengths, or an invalid row
        if kinds <= {str, bytes}:
            return [_of_texts((value,)) for value in values]
        array = _array(read(values))
        if array.size and array.dtype.kind in "biuf":
            return _of_rows(array)
    return _one_by_one(values, where)


def _one_by_one(values: Sequence[object], where: Where) -> list[bytes]:
    found: list[Array | Untyped] = []
    for index, value in enumerate(values):
        with _named(where, index):
            found.append(_read(value))
    if "f" in {_array(one).dtype.kind for one in found if _array(one).size}:
        found = [_as_floats(one) for one in found]
    features = []
    for index, one in enumerate(found):
        with _named(where, index):
            features.append(_of(one))
    return features


@contextmanager
def _named(where: Where, index: int) -> Iterator[None]:
    try:
        yield
    except EncodeError as error:
        raise EncodeError(f"{where(index)}: {error}") from error.__cause__


def _as_floats(found: Array | Untyped) -> Array | Untyped:
    array = _array(found)
    return array.astype(np.float64) if array.dtype.kind in "biu" and array.size else found


def _array(found: Array | Untyped) -> Array:
    return found.array if isinstance(found, Untyped) else found


def _of_rows(array: Array) -> Sequence[bytes]:
    """Write a Feature for each row of an array. Raises EncodeError for values that no example can hold."""
    array = _checked(array)
    kind = array.dtype.kind
    values = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
    if kind in "OSU":
        return [_of_texts(row) for row in values.tolist()]
    if kind == "f":
        return _cut(_FLOAT_LIST, _float32(values).tobytes(), np.full(len(values), 4 * values.shape[1]))
    numbers = np.ascontiguousarray(values, np.int64)
    return _cut(_INT64_LIST, varints.encode(numbers.reshape(-1)), _varint_sizes(numbers).sum(axis=1))


def _of_texts(values: Sequence[Any]) -> bytes:
    payload = b"".join(
        [wire.delimited(1, wire.utf8(item, "text") if isinstance(item, str) else item) for item in values]
    )
    return wire.delimited(_BYTES_LIST, payload)


def _float32(values: Array) -> Array:
    with np.errstate(over="raise"):
        try:
            return np.ascontiguousarray(values.astype("<f4"))
        except FloatingPointError:
            raise EncodeError("expected floats that fit float32 for an example, got larger ones") from None


def _varint_sizes(numbers: Array) -> Array:
    """Return the size of each number as a varint, in bytes."""
    bits = numbers.view(np.uint64)
    sizes = np.ones(numbers.shape, np.int64)
    for shift in range(7, 64, 7):
        more = bits >= np.uint64(1 << shift)
        if not more.any():
            break
        sizes += more
    return sizes


def _cut(number: int, data: bytes, sizes: Array) -> list[bytes]:
    """Write a Feature for each row of packed numbers, given the size of each row in bytes."""
    heads: dict[int, bytes] = {}
    found = []
    start = 0
    for size in sizes.tolist():
        head = heads.get(size)
        if head is None:
            inner = wire.prefix(1, size) if size else b""  # protobuf writes nothing for an empty list
            head = heads[size] = wire.prefix(number, len(inner) + size) + inner
        found.append(head + data[start : start + size])
        start += size
    return found
