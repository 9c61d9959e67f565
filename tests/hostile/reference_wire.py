"""What messages mean, by protobuf's parser and TensorFlow's rules, without the package's codec.

The rule that readers of the wire are held to:

- Where protobuf and the reader accept a message, the values are the same, bit for bit, NaNs included. That settles
  scalars given twice (the last counts), messages given twice (they merge), map entries (the last of a key counts),
  packed and unpacked numbers, unknown fields and groups.
- What protobuf refuses, the reader accepts only where the fault lies in a field that it passes over: without those
  fields protobuf accepts the message too, with the same values.
- What protobuf accepts, the reader refuses only for a reason: the tensor contradicts itself, numpy has no such
  shape, repeating its last value takes more than eight times the message, or a documented limit is passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from tfs_client._codec.dtypes import BY_NUMBER
from tfs_client.errors import TFServingError
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

from .mutations_wire import FIXED32, FIXED64, GROUP, LENGTH, VARINT, read_varint, sized, tag, varint

BUILT = 100_000  # elements; larger tensors are compared by shape and fill only

FIELDS = {5: "float_val", 6: "double_val", 7: "int_val", 8: "string_val", 9: "scomplex_val", 10: "int64_val"}
FIELDS |= {11: "bool_val", 12: "dcomplex_val", 13: "half_val", 16: "uint32_val", 17: "uint64_val", 18: "float8_val"}


class Rejected(Exception):
    """TensorFlow does not allow this tensor."""


class TooLarge(Exception):
    """A tensor that may be refused, for it would be many times larger than its message."""


@cache
def dtype_of(number: int) -> np.dtype[Any] | None:
    """numpy's dtype of a tensor dtype; None where there is none."""
    row = BY_NUMBER.get(number)
    try:
        return np.dtype(row.dtype) if row is not None and number else None
    except TFServingError:
        return None


def tensor(proto: Any, size: int) -> np.ndarray:
    """The tensor that a TensorProto of ``size`` bytes means. Raises Rejected and TooLarge."""
    dtype = dtype_of(proto.dtype)
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    if dtype is None or len(sizes) > 254 or (sizes and min(sizes) < 0) or (count := math.prod(sizes)) >= 1 << 63:
        raise Rejected
    content = proto.tensor_content
    if not count:
        values = np.empty(0, dtype)
    elif content:
        values = _content(content, dtype, count)
    else:
        values = _typed(proto, BY_NUMBER[proto.dtype], dtype)[:count]
    try:
        if values.size == count:
            return values.reshape(sizes)
        if values.size <= 1:
            filler = np.empty((), dtype)
            filler[()] = values[0] if values.size else b"" if dtype.kind == "O" else np.zeros((), dtype)[()]
            return np.broadcast_to(filler, sizes)
    except ValueError:  # a shape that numpy cannot hold
        raise Rejected from None
    texts = (count - values.size) * len(values[-1]) if dtype.kind == "O" else 0  # what the repeated text takes
    if values.nbytes + count * dtype.itemsize + texts > 8 * size:
        raise TooLarge
    try:
        return np.concatenate((values, np.repeat(values[-1:], count - values.size))).reshape(sizes)
    except ValueError:
        raise Rejected from None


def _content(content: bytes, dtype: np.dtype[Any], count: int) -> np.ndarray:
    if dtype.kind != "O":
        if len(content) != count * dtype.itemsize or (dtype.kind == "b" and max(content) > 1):
            raise Rejected
        return np.frombuffer(content, dtype)
    if count > len(content):
        raise Rejected
    lengths, at = [], 0
    for _ in range(count):
        try:
            length, at = read_varint(content, at)
        except ValueError:
            raise Rejected from None
        lengths.append(length)
    if sum(lengths) != len(content) - at:
        raise Rejected
    values = np.empty(count, object)
    for index, length in enumerate(lengths):
        values[index] = content[at : at + length]
        at += length
    return values


def _typed(proto: Any, row: Any, dtype: np.dtype[Any]) -> np.ndarray:
    name = FIELDS[row.field]
    if row.field in (5, 6, 9, 12):
        raw = _raw(proto, name)
        scalar = np.frombuffer(raw, "<f4" if row.field in (5, 9) else "<f8")
        if row.field in (9, 12):
            scalar = scalar[: scalar.size // 2 * 2]
        return scalar.view(dtype)
    values = getattr(proto, name)
    if row.field == 8:
        out = np.empty(len(values), object)
        out[:] = list(values)
        return out
    if row.field == 18:
        return np.frombuffer(values, dtype)
    if row.field == 11:
        return np.array(list(values), bool)
    wide = np.array(list(values), np.uint64 if row.field == 17 else np.int64)
    if row.field == 13:
        return wide.astype(np.uint16).view(dtype)
    if row.extra:  # int4 and its kin: the low bits
        bits = int(row.name[-1])
        low = wide & (1 << bits) - 1
        return np.where((low >> bits - 1) & (row.name[0] == "i"), low - (1 << bits), low).astype(np.int8).astype(dtype)
    if dtype.fields is not None:
        return wide.astype(dtype[0]).view(dtype)
    return wide.astype(dtype)


def _raw(proto: Any, name: str) -> bytes:
    """The packed bytes of a field of floats: Python's floats would lose what NaNs carry."""
    if not (values := getattr(proto, name)):
        return b""
    only = TensorProto()
    getattr(only, name).MergeFrom(values)
    data = only.SerializeToString()
    _, at = read_varint(data, 1)
    return data[at:]


def same(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal in dtype, shape and every bit."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    if got.size > BUILT:
        first = (0,) * got.ndim
        return (
            got[first] == want[first]
            if got.dtype.kind == "O"
            else bytes(got[first].tobytes()) == want[first].tobytes() and any(got.strides) == any(want.strides)
        )
    if got.dtype.kind == "O":
        return got.tolist() == want.tolist()
    return got.tobytes() == want.tobytes()


# --- without what a reader passes over

# What is read of a message, by field number: VARINT, FIXED ("fixed") or LENGTH for the wire type that counts, "numbers"
# for varints that may come packed, a mapping for messages, ``Once`` for messages that merge when they come twice.
# OPAQUE is for messages that are only found to be there.
Read = Mapping[int, Any]
OPAQUE = "opaque"


class Once:
    """A message field that is not repeated, whose occurrences are one message; what is read depends on its bytes."""

    def __init__(self, read: Callable[[bytes], Read]) -> None:
        self._read = read

    def within(self, *pieces: bytes) -> bytes:
        """The pruned message."""
        for piece in pieces:
            for _ in every(piece):  # each must be a message by itself
                pass
        data = b"".join(pieces)
        return pruned(data, self._read(data))


def pruned(data: bytes, read: Read) -> bytes:
    """The message with only those fields that a reader looks at, as protobuf would write them. Raises ValueError."""
    out: list[bytes] = []
    once: dict[int, list[bytes]] = {}
    for number, kind, start, stop in every(data):
        want = read.get(number)
        payload = data[start:stop]
        if kind == VARINT:
            if want in (VARINT, "numbers"):
                out.append(tag(number, VARINT) + varint(read_varint(payload, 0)[0]))
        elif kind == LENGTH:
            if isinstance(want, Once):
                once.setdefault(number, []).append(payload)
            elif callable(want):
                inner = want(payload)
                out.append(sized(number, b"" if inner == OPAQUE else pruned(payload, inner)))
            elif isinstance(want, Mapping):
                out.append(sized(number, pruned(payload, want)))
            elif want == OPAQUE:
                out.append(tag(number, LENGTH) + b"\0")
            elif want in (LENGTH, "numbers", "fixed"):
                out.append(sized(number, payload))
        elif kind in (FIXED32, FIXED64) and want == "fixed":
            out.append(tag(number, kind) + payload)
    for number, pieces in once.items():
        out.append(sized(number, read[number].within(*pieces)))
    return b"".join(out)


def every(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message, groups too: number, wire type, and where the payload lies. Raises ValueError."""
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind, start = key >> 3, key & 7, at
        if not 0 < number < 1 << 29:
            raise ValueError("no field number")
        if kind == GROUP:
            at = _after_group(data, at, number)
        elif kind == LENGTH:
            size, start = read_varint(data, at)
            at = start + size
        elif kind == VARINT:
            _, at = read_varint(data, at)
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError("no wire type")
        if at > len(data):
            raise ValueError("cut off")
        yield number, kind, start, at


def _after_group(data: bytes, at: int, number: int) -> int:
    open_groups = [number]
    while open_groups:
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == VARINT:
            _, at = read_varint(data, at)
        elif kind == LENGTH:
            size, at = read_varint(data, at)
            at += size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        elif kind == GROUP:
            open_groups.append(key >> 3)
        elif kind != 4 or open_groups.pop() != key >> 3:
            raise ValueError("no end of a group")
        if at > len(data):
            raise ValueError("cut off")
    return at


def _tensor_read(data: bytes) -> Read:
    """What is read of a TensorProto: the field of its dtype, unless there is content, or no element at all."""
    number, content, shape = 0, b"", b""
    for field, kind, start, stop in every(data):
        if (field, kind) == (1, VARINT):
            number = read_varint(data, start)[0] & 0xFFFFFFFF
        elif (field, kind) == (2, LENGTH):
            shape += data[start:stop]
        elif (field, kind) == (4, LENGTH):
            content = data[start:stop]
    row = BY_NUMBER.get(number)
    sizes = [
        (
            [0]
            + [
                read_varint(shape, inner)[0]
                for each, how, inner, _ in every(shape[:stop], start)
                if (each, how) == (1, VARINT)
            ]
        )[-1]
        for field, kind, start, stop in every(shape)
        if (field, kind) == (2, LENGTH)
    ]
    always: Read = {1: VARINT, 2: SHAPE, 4: LENGTH}
    if row is None or row.field is None or content or 0 in sizes:
        return always
    values: Any = {5: "fixed", 6: "fixed", 9: "fixed", 12: "fixed", 8: LENGTH, 18: LENGTH}.get(row.field, "numbers")
    return {**always, row.field: values}


SHAPE: Read = {2: {1: VARINT}}
TENSOR = Once(_tensor_read)
SPEC: Read = {1: LENGTH, 2: {1: VARINT}, 3: LENGTH, 4: LENGTH}
RESPONSE: Read = {1: {1: LENGTH, 2: TENSOR}, 2: SPEC}
REQUEST: Read = {1: SPEC, 2: {1: LENGTH, 2: TENSOR}, 3: LENGTH}
INFO: Read = {1: LENGTH, 2: VARINT, 3: {2: {1: VARINT}, 3: VARINT}, 4: OPAQUE, 5: OPAQUE}
SIGNATURE: Read = {1: {1: LENGTH, 2: INFO}, 2: {1: LENGTH, 2: INFO}, 3: LENGTH, 4: {1: LENGTH, 2: OPAQUE}}
SIGNATURES: Read = {1: {1: LENGTH, 2: SIGNATURE}}


def _of_metadata(entry: bytes) -> Read:
    """Of an entry with another key than that of signatures, the value is passed over."""
    keys = [entry[start:stop] for number, kind, start, stop in every(entry) if (number, kind) == (1, LENGTH)]
    return {1: LENGTH, 2: {1: LENGTH, 2: LENGTH} if keys[-1:] == [b"signature_def"] else OPAQUE}


METADATA: Read = {1: SPEC, 2: _of_metadata}


def input_of(data: bytes) -> Read:
    """What is read of an Input: the list of the last kind, from where the kind changed last, but no example."""
    kinds = [number for number, kind, _, _ in every(data) if kind == LENGTH and number in (1, 2)]
    run = len(kinds) - next((at for at in range(len(kinds), 0, -1) if kinds[at - 1] != kinds[-1]), 0)
    left = [len(kinds) - run]

    def each(payload: bytes) -> Any:
        left[0] -= 1
        return OPAQUE if left[0] >= 0 else {1: OPAQUE, 2: OPAQUE} if kinds[-1] == 2 else {1: OPAQUE}

    return {1: each, 2: each}


def replaces(data: bytes, number: int) -> bool:
    """Whether a map entry of this field has the key of an earlier one."""
    keys = []
    for field, kind, start, stop in every(data):
        if (field, kind) == (number, LENGTH):
            entry = data[start:stop]
            found = [entry[a:b] for inner, how, a, b in every(entry) if (inner, how) == (1, LENGTH)]
            keys.append(found[-1] if found else b"")
    return len(keys) != len(set(keys))


def saved(data: bytes) -> Read:
    """What is read of a SavedModel: tags until the first graph for serving, and the signatures of that one."""
    found: list[bytes] = []

    def graph(data: bytes) -> Any:
        if found:
            return OPAQUE
        tags = {
            data[start:stop][first:last]
            for number, kind, start, stop in every(data)
            if (number, kind) == (1, LENGTH)
            for inner, within, first, last in every(data[start:stop])
            if (inner, within) == (4, LENGTH)
        }
        if tags != {b"serve"}:
            return {1: {4: LENGTH}}
        found.append(data)
        return {1: {4: LENGTH}, 5: {1: LENGTH, 2: SIGNATURE}}

    return {2: graph}
