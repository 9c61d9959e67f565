"""Read TensorProto messages as arrays and write them, without protobuf (tensorflow/core/framework/tensor.proto).

A tensor has its values in one of two places: ``tensor_content`` holds them as in memory (little-endian, C order), a
typed field such as ``float_val`` holds them as protobuf scalars. Servers reply in typed fields unless configured
otherwise, so both are read without a copy wherever possible: content, packed floats, doubles and complex numbers,
float8 and plain bools become read-only views of the message; varints are decoded by numpy.

Reading never allocates more than eight times the message: one varint byte may become an int64. A typed field with one
value, or none, fills the whole tensor and becomes a broadcast view. In addition, reading needs a few megabytes of
scratch memory, a copy of a field that arrives in pieces, and Python's overhead per object (about 40 bytes per string).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tfs_client._codec import many_strings, strings, varints, wire
from tfs_client._codec.dtypes import BY_NUMBER, STRING, Array, DType, Field, row_of
from tfs_client._codec.repeated import Payloads
from tfs_client.errors import DecodeError, EncodeError, TFServingError

MAX_RANK = 254  # TensorFlow's limit; numpy's is lower and reported where it applies
MAX_GROWTH = 8  # bytes allocated per byte read
MAX_MESSAGE = 0x7FFFFFFF  # bytes; protobuf's limit, and the server's

_DTYPE = wire.tag(1, wire.VARINT)
_SHAPE = wire.tag(2, wire.LENGTH)
_CONTENT = wire.tag(4, wire.LENGTH)
_DIM = wire.tag(2, wire.LENGTH)
_SIZE = wire.tag(1, wire.VARINT)

# The wire dtypes of typed fields of fixed width.
_FIXED = {Field.FLOAT: "<f4", Field.DOUBLE: "<f8", Field.SCOMPLEX: "<c8", Field.DCOMPLEX: "<c16"}

IN_MEMORY = frozenset((*_FIXED, Field.FLOAT8))
"""Typed fields whose packed payload equals the array's memory."""

Buffer = Any
"""Bytes or an array. The type of both, collections.abc.Buffer, exists only from Python 3.12 on."""


# --- reading -----------------------------------------------------------------------------------------------------


def read(data: bytes, at: int = 0, end: int | None = None, *, budget: int | None = None) -> Array:
    """Read the TensorProto in ``data[at:end]`` as a read-only array of its declared shape.

    Strings become an object array of bytes. ``budget`` limits the bytes allocated to repeat the last value; the default
    is eight times the message. Raises DecodeError if dtype, shape and values contradict each other.
    """
    end = len(data) if end is None else end
    begin = at
    number = 0
    shapes: list[tuple[int, int]] = []
    content: tuple[int, int] | None = None
    payloads = Payloads(data, end)
    while at < end:
        for tag, first, second in wire.fields(data, at, end):
            at = second
            if tag == _DTYPE:
                number = first
            elif tag == _SHAPE:
                wire.add_piece(shapes, first, second)
            elif tag == _CONTENT:
                content = (first, second)
            else:
                at = payloads.take(tag, first, second)
                if at != second:  # a run of values was read at once: continue after it
                    break
    row = _row(number & 0xFFFFFFFF)  # enums have 32 bits
    dtype = _numpy_dtype(row)
    shape = _read_shape(*wire.joined(data, shapes)) if shapes else ()
    count = math.prod(shape)
    if count >> 63:
        raise DecodeError(f"expected a tensor of fewer than 2**63 elements, got shape {shape}")
    if count == 0:
        return _shaped(np.empty(0, dtype), shape)
    if content is not None and content[0] != content[1]:
        return _from_content(data, *content, row, shape, count)
    return _from_values(payloads, row, shape, count, MAX_GROWTH * (end - begin) if budget is None else budget)


def _row(number: int) -> DType:
    row = BY_NUMBER.get(number)
    if row is None or row.number == 0:
        raise DecodeError(f"expected a tensor dtype from 1 to {max(BY_NUMBER)}, got {number}")
    return row


def _numpy_dtype(row: DType) -> Any:
    try:
        return row.dtype
    except TFServingError as error:
        raise DecodeError(str(error)) from None


def _read_shape(data: bytes, at: int, end: int) -> tuple[int, ...]:
    # unknown_rank is ignored: TensorFlow uses the dims that are given, and none means a scalar.
    sizes: list[int] = []
    for tag, first, second in wire.fields(data, at, end):
        if tag == _DIM:
            size = 0
            for inner, value, _ in wire.fields(data, first, second):
                if inner == _SIZE:
                    size = wire.to_signed(value)
            if size < 0:
                raise DecodeError(f"expected a known size for axis {len(sizes)}, got {size}")
            sizes.append(size)
            if len(sizes) > MAX_RANK:
                raise DecodeError(f"expected at most {MAX_RANK} axes, got more")
    return tuple(sizes)


def _shaped(values: Array, shape: tuple[int, ...]) -> Array:
    try:
        array = values.reshape(shape)
    except ValueError as error:  # more axes than numpy supports, or sizes beyond its index type
        raise DecodeError(f"expected a shape numpy can hold, got {shape}: {error}") from None
    array.flags.writeable = False
    return array


def _from_content(data: bytes, start: int, stop: int, row: DType, shape: tuple[int, ...], count: int) -> Array:
    if row is STRING:
        return _shaped(_strings_in_content(data, start, stop, shape, count), shape)
    dtype = row.dtype
    need = count * dtype.itemsize
    if stop - start != need:
        raise DecodeError(f"{row.name} {shape} needs {need} bytes of tensor content, got {stop - start}")
    values = np.frombuffer(data, dtype, count, start)
    if row.name == "bool" and values.view(np.uint8).max() > 1:
        raise DecodeError(f"bool {shape} needs bytes of 0 or 1 as tensor content, got {values.view(np.uint8).max()}")
    return _shaped(values, shape)


def _strings_in_content(data: bytes, start: int, stop: int, shape: tuple[int, ...], count: int) -> Array:
    """Read strings in TensorFlow's memory layout: all lengths as varints, then all bytes (tensor_coding.h)."""
    source = np.frombuffer(data, np.uint8, stop - start, start)
    size = done = 0
    while done < count:  # every round adds one byte for each incomplete length: at most ten rounds
        if size + count - done > source.size or size >= varints.LONGEST * count:
            raise DecodeError(
                f"string {shape} needs {count} lengths as tensor content, got {done} in {source.size} bytes"
            )
        more = source[size : size + count - done]
        size += more.size
        done += int(np.count_nonzero(more < 0x80))
    lengths = varints.decode(source[:size], np.dtype(np.uint64))
    room = source.size - size
    # The largest first: a sum of hostile lengths could wrap around.
    if int(lengths.max()) > room or int(lengths.sum()) != room:
        raise DecodeError(f"string {shape} declares {sum(map(int, lengths[:9]))}… bytes, got {room}")
    values = np.empty(count, object)
    at = start + size
    for index, length in enumerate(lengths.tolist()):
        values[index] = data[at : at + length]
        at += length
    return values


def _from_values(payloads: Payloads, row: DType, shape: tuple[int, ...], count: int, budget: int) -> Array:
    field = row.field
    assert field is not None  # rows without a field have no numpy dtype and are refused before
    if field is Field.STRING:
        values = payloads.strings(count)
    elif field is Field.FLOAT8:
        values = np.frombuffer(payloads.bytes_of(Field.FLOAT8), row.dtype)
    elif field in _FIXED:
        values = _fixed(payloads.bytes_of(field), row, shape)
    else:
        values = _integers(payloads.bytes_of(field), row, count)
    if values.size >= count:
        return _shaped(values[:count], shape)
    if values.size > 1:
        return _shaped(_stretched(values, row, shape, count, budget), shape)
    only = values if values.size else np.zeros(1, row.dtype) if row is not STRING else _empty_string()
    try:
        return np.broadcast_to(only.reshape(()), shape)
    except ValueError as error:
        raise DecodeError(f"expected a shape numpy can hold, got {shape}: {error}") from None


def _fixed(payload: memoryview, row: DType, shape: tuple[int, ...]) -> Array:
    width = np.dtype(_FIXED[row.field]).itemsize if row.field else 0
    scalar = width // 2 if row.name.startswith("complex") else width
    if payload.nbytes % scalar:
        raise DecodeError(f"{row.name} {shape} needs whole values of {scalar} bytes, got {payload.nbytes} bytes")
    return np.frombuffer(payload, row.dtype, payload.nbytes // width)  # half a complex number at the end is dropped


def _integers(payload: memoryview, row: DType, count: int) -> Array:
    """Decode at most ``count`` values of a varint field; narrow integers are cut to their width, as the server does."""
    dtype = row.dtype
    if row.name == "bool":
        plain = np.frombuffer(payload, np.uint8)
        return plain.view(np.bool_) if not plain.size or plain.max() <= 1 else varints.decode(payload, dtype, count)
    if row.field is Field.HALF:  # raw 16-bit patterns in int32 slots: reinterpret, never convert
        return varints.decode(payload, np.dtype("<u2"), count).view(dtype)
    if row.extra:  # int4 and similar types, a byte each
        return varints.decode(payload, np.dtype("u1" if row.name[0] == "u" else "i1"), count).astype(dtype)
    if dtype.fields is not None:
        return varints.decode(payload, dtype.fields[row.name][0], count).view(dtype)
    return varints.decode(payload, dtype, count)


def _stretched(values: Array, row: DType, shape: tuple[int, ...], count: int, budget: int) -> Array:
    """Repeat the last value, for a tensor with fewer values than elements."""
    width = row.dtype.itemsize
    more = (count - values.size) * len(values[-1]) if row is STRING else 0  # the repeated text when it is written
    if values.nbytes + count * width + more > budget:
        raise DecodeError(
            f"{row.name} {shape} needs {count} values, got {values.size}; repeating the last one would take "
            f"{count * width + more} bytes, too many for a message of {budget // MAX_GROWTH}"
        )
    whole = np.empty(count, row.dtype)
    whole[: values.size] = values
    whole[values.size :] = values[-1]
    return whole


def _empty_string() -> Array:
    array = np.empty(1, object)
    array[0] = b""
    return array


# --- writing -----------------------------------------------------------------------------------------------------


def content_head(row: DType, shape: tuple[int, ...], nbytes: int) -> bytes:
    """Return the bytes of a TensorProto before its ``nbytes`` of content."""
    return head(row, shape) + (wire.prefix(4, nbytes) if nbytes else b"")


def typed_head(row: DType, shape: tuple[int, ...], nbytes: int) -> bytes:
    """Return the bytes of a TensorProto before the ``nbytes`` of values in one of the fields ``IN_MEMORY``."""
    assert row.field is not None
    return head(row, shape) + (wire.prefix(row.field, nbytes) if nbytes else b"")


@lru_cache(maxsize=1024)
def head(row: DType, shape: tuple[int, ...]) -> bytes:
    """Return dtype and shape. The shape is written even for scalars, as by the server."""
    dims = b"".join(wire.delimited(2, b"\x08" + wire.varint(size) if size else b"") for size in shape)
    return b"\x08" + wire.varint(row.number) + wire.delimited(2, dims)


def memory(array: Array) -> Array:
    """Return the array in the form of tensor content: little-endian, C order, and a buffer that can be joined.

    Arrays in this form are not copied.
    """
    dtype = array.dtype
    if dtype.byteorder == ">" or (dtype.byteorder == "=" and not LITTLE):
        array = array.astype(dtype.newbyteorder("<"))
    if not array.flags.c_contiguous:
        if array.nbytes > MAX_MESSAGE:
            raise EncodeError(f"expected a tensor of at most {MAX_MESSAGE} bytes, got {array.nbytes}")
        array = np.array(array, order="C")
    named = (
        dtype.isbuiltin == 1 and dtype.kind in "biufc" and dtype.char != "e"
    )  # the buffer protocol has a format for it
    return array if named else array.reshape(-1).view(np.uint8)


LITTLE = np.dtype("<i4").isnative


def values_field(array: Array, row: DType) -> tuple[bytes, Buffer]:
    """Return the typed field of the array: the bytes before its payload, and the payload.

    For strings the payload is the whole field, element by element.
    """
    field = row.field
    if field is None:
        raise EncodeError(f"{row.name} tensors cannot be written")
    if not array.size:
        return b"", b""
    if field is Field.STRING:
        return b"", strings_field(array)
    payload: Buffer
    if field in IN_MEMORY:
        payload = memory(array)
        return wire.prefix(field, payload.nbytes), payload
    if array.size > MAX_MESSAGE:  # a view that repeats a value; a varint takes at least a byte
        raise EncodeError(f"expected a tensor of at most {MAX_MESSAGE} values, got {array.size}")
    payload = varints.encode(_varint_values(array, row))
    return wire.prefix(field, len(payload)), payload


def _varint_values(array: Array, row: DType) -> Array:
    flat = array.reshape(-1)
    if row.field is Field.HALF:
        flat = memory(flat).view("<u2")
    elif row.extra:
        flat = flat.astype(np.int8)
    elif flat.dtype.fields is not None:
        flat = flat[row.name]
    return flat


_STRING_HEADS = [b"\x42" + bytes((size,)) for size in range(0x80)]


def strings_field(array: Array) -> bytes:
    """Write every string as one occurrence of ``string_val``, str as UTF-8. Raises EncodeError for other elements."""
    values = strings.flat_bytes(array)
    if len(values) > many_strings.patience() and (message := many_strings.written(values)) is not None:
        return message
    parts: list[bytes] = []
    for value in values:
        size = len(value)
        parts.append(_STRING_HEADS[size] if size < 0x80 else b"\x42" + wire.varint(size))
        parts.append(value)
    return b"".join(parts)


def strings_content(array: Array) -> bytes:
    """Write strings as tensor content: all lengths as varints, then all bytes."""
    values = strings.flat_bytes(array)
    return b"".join([*(wire.varint(len(value)) for value in values), *values])


def write(array: Array, *, typed: bool = False) -> bytes:
    """Write the array as a TensorProto: in typed fields, or as tensor content (strings are always typed)."""
    row = row_of(array.dtype)
    if typed or row is STRING:
        before, payload = values_field(array, row)
        return b"".join((head(row, array.shape), before, payload))
    return content_head(row, array.shape, array.nbytes) + memory(array).tobytes()
