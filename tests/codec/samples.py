"""Tensors and their bytes, for every test of the codec, and the decoding rules of TensorFlow in plain, slow code."""

from __future__ import annotations

import importlib.util
import itertools
import math

import numpy as np

from tfs_client._codec import wire
from tfs_client._codec.dtypes import ROWS

HAS_ML_DTYPES = importlib.util.find_spec("ml_dtypes") is not None

# The rows with values that numpy can hold here, and those of them that are numbers.
HELD = [row for row in ROWS if row.spec is not None or (row.extra and HAS_ML_DTYPES)]
NUMERIC = [row for row in HELD if row.name != "string"]

# (array, typed bytes, content bytes).
GOLDEN = [
    (
        np.array([1.0, 2.5], "<f4"),
        "0801 1204 1202 0802 2a08 0000803f 00002040",
        "0801120412020802 2208 0000803f 00002040",
    ),
    (np.array([b"a", b"bc"], object), "0807 1204 1202 0802 4201 61 4202 6263", "0807120412020802 2205 01 02 61 6263"),
    (np.array([1.0, -2.0], "<f2"), "0813 1204 1202 0802 6a05 8078 808003", "0813120412020802 2204 003c 00c0"),
    (np.array([-1], "<i4"), "0803 1204 1202 0801 3a0a ffffffffffffffffff01", "0803120412020801 2204 ffffffff"),
    (np.array(3.0, "<f4"), "0801 1200 2a04 00004040", "0801 1200 2204 00004040"),
]
REQUEST = bytes.fromhex("0a070a016d1202080312130a0178120e08011204120208012a04000000401a0179")
REPLY = bytes.fromhex("0a130a0179120e08011204120208012a040000404012180a016d120208031a0f73657276696e675f64656661756c74")


def shape(*sizes: int) -> bytes:
    """The tensor_shape field."""
    return wire.delimited(2, b"".join(wire.delimited(2, b"\x08" + wire.signed_varint(size)) for size in sizes))


def tensor(number: int, sizes: tuple[int, ...], *fields: bytes) -> bytes:
    """A TensorProto of a dtype number, a shape and other fields as they are."""
    return b"\x08" + wire.varint(number) + shape(*sizes) + b"".join(fields)


def packed(field: int, *values: int) -> bytes:
    """Varints in one packed field."""
    return wire.delimited(field, b"".join(map(wire.signed_varint, values)))


def unpacked(field: int, *values: int) -> bytes:
    """Varints one by one, each with its tag."""
    return b"".join(wire.varint(field << 3) + wire.signed_varint(value) for value in values)


def same(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal in dtype, shape and every bit, NaNs included."""
    return got.dtype == want.dtype and got.shape == want.shape and got.tolist().__repr__() == want.tolist().__repr__()


class Rejected(Exception):
    """TensorFlow does not accept this message as a tensor."""


FIELDS = {5: "float_val", 6: "double_val", 7: "int_val", 8: "string_val", 9: "scomplex_val", 10: "int64_val"}
FIELDS |= {11: "bool_val", 12: "dcomplex_val", 13: "half_val", 16: "uint32_val", 17: "uint64_val", 18: "float8_val"}


def reference(proto) -> np.ndarray:
    """Decode a parsed TensorProto as tensorflow/core/framework/tensor.cc does, value by value."""
    row = next((row for row in HELD if row.number == proto.dtype), None)
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    if row is None or len(sizes) > 254 or any(size < 0 for size in sizes) or math.prod(sizes) >= 1 << 63:
        raise Rejected
    count, content, dtype = math.prod(sizes), proto.tensor_content, row.dtype
    if count > 100_000:
        raise Rejected  # a limit of the tests, not of TensorFlow
    if not count:
        values = []
    elif content:
        values = _content(content, row, count)
    else:
        assert row.field is not None
        values = _typed(list(getattr(proto, FIELDS[row.field])), row)[:count]
        filler = values[-1] if values else b"" if row.name == "string" else np.zeros((), dtype)[()]
        values += [filler] * (count - len(values))
    out = np.empty(count, dtype)
    for at, value in enumerate(values):
        out[at] = value
    try:
        return out.reshape(sizes)
    except ValueError:  # a shape that numpy cannot hold
        raise Rejected from None


def _content(content: bytes, row, count: int) -> list:
    if row.name == "string":
        lengths, at = [], 0
        for _ in range(count):
            try:
                length, at = wire.read_varint(content, at, len(content))
            except ValueError:
                raise Rejected from None
            lengths.append(length)
        if sum(lengths) != len(content) - at:
            raise Rejected
        ends = np.cumsum([at, *lengths]).tolist()
        return [content[start:stop] for start, stop in itertools.pairwise(ends)]
    if len(content) != count * row.dtype.itemsize or (row.name == "bool" and max(content) > 1):
        raise Rejected
    return list(np.frombuffer(content, row.dtype))


def _typed(values: list, row) -> list:
    if row.name.startswith("complex"):
        return [complex(real, imag) for real, imag in zip(values[::2], values[1::2], strict=False)]
    if row.field == 13:
        return list(np.array([value & 0xFFFF for value in values], "<u2").view(row.dtype))
    if row.field == 18:
        return list(np.frombuffer(bytes(values), row.dtype))
    if row.field == 7 and row.extra:
        bits = int(row.name[-1])
        cut = [value & (1 << bits) - 1 for value in values]
        signed = row.name[0] == "i"
        return [value - (1 << bits) if signed and value >> bits - 1 else value for value in cut]
    if row.field == 7:
        width = row.dtype.itemsize
        kind = (row.dtype if row.dtype.fields is None else row.dtype[0]).kind
        cut = [(value & (1 << 8 * width) - 1).to_bytes(width, "little") for value in values]
        return list(np.frombuffer(b"".join(cut), f"<{kind}{width}").astype(row.dtype))
    return values


def of_row(row, sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """An array of a row's dtype with varied values, none of them NaN."""
    rng = np.random.default_rng(seed)
    count = math.prod(sizes)
    if row.name == "string":
        values = np.empty(count, object)
        values[:] = [rng.bytes(int(size)) for size in rng.integers(0, 200, count)]
        return values.reshape(sizes)
    base = row.dtype if row.dtype.fields is None else row.dtype[0]
    if base.kind in "iu":
        info = np.iinfo(base)
        flat = rng.integers(info.min, info.max, count, base, endpoint=True)
        return flat.view(row.dtype).reshape(sizes)
    if base.kind == "b":
        return np.asarray(rng.integers(0, 2, sizes), bool)
    if base.kind == "c":
        return np.asarray(rng.normal(size=sizes) + 1j * rng.normal(size=sizes), base)
    if row.name.startswith(("int", "uint")):  # four bits or two
        bits, signed = int(row.name[-1]), row.name[0] == "i"
        low = -(1 << bits - 1) if signed else 0
        return np.asarray(rng.integers(low, low + (1 << bits), sizes), np.int8).astype(base)
    return np.asarray(rng.normal(size=sizes)).astype(base)
