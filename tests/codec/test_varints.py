"""Packed varints, read and written by numpy, against protobuf."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import varints, wire
from tfs_client.errors import DecodeError
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

FIELDS = {"int64_val": "i8", "uint64_val": "u8", "int_val": "i4", "uint32_val": "u4", "bool_val": "?"}
BOUNDARIES = [limit + by for bits in range(0, 70, 7) for limit in [1 << min(bits, 63)] for by in (-1, 0, 1)]
BOUNDARIES = sorted({value for value in BOUNDARIES if value < 1 << 64} | {0, 127, 128, 2**64 - 1})


def packed(field, values):
    """The packed payload as protobuf writes it."""
    data = TensorProto(**{field: values}).SerializeToString()
    return b"".join(data[start:stop] for _, start, stop in wire.fields(data, 0, len(data)))


@st.composite
def a_field_with_values(draw):
    field = draw(st.sampled_from(sorted(FIELDS)))
    if field == "bool_val":
        return field, draw(st.lists(st.booleans(), max_size=50))
    info = np.iinfo(FIELDS[field])
    bits = draw(st.integers(0, info.bits))  # values of one magnitude take another way than mixed ones
    small = st.integers(max(info.min, -(1 << bits)), min(info.max, 1 << bits))
    any_size = st.integers(info.min, info.max)
    return field, draw(st.lists(draw(st.sampled_from([small, any_size, small | any_size])), max_size=50))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(a_field_with_values())
def test_protobuf_reads_what_we_write_and_we_read_what_it_writes(case):
    field, values = case
    array = np.array(values, FIELDS[field])
    payload = packed(field, values)
    assert varints.encode(array) == payload
    got = varints.decode(payload, array.dtype)
    assert got.dtype == array.dtype
    assert got.tolist() == values


@pytest.mark.parametrize("value", BOUNDARIES)
@pytest.mark.parametrize("company", [[], [0], [300], [2**63], [0, 2**35, 1]])
def test_varints_of_any_two_lengths_are_read_next_to_each_other(value, company):
    values = [*company, value, *company, value]
    array = np.array(values, "u8")
    assert varints.encode(array) == b"".join(map(wire.varint, values))
    assert varints.decode(varints.encode(array), array.dtype).tolist() == values


@pytest.mark.parametrize("value", [-1, -127, -128, -(2**31), -(2**63)])
def test_negative_numbers_take_ten_bytes(value):
    array = np.array([value, 5], "i8")
    assert len(varints.encode(array)) == 11
    assert varints.decode(varints.encode(array), array.dtype).tolist() == [value, 5]


@pytest.mark.parametrize("off", [-1, 0, 1, 7])
@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("kind", ["one byte", "two bytes", "up to two", "up to five", "all lengths", "ten bytes"])
def test_values_at_chunk_boundaries_are_read(chunks, off, kind):
    rng = np.random.default_rng(chunks * 10 + off)
    count = chunks * varints.CHUNK + off
    values = {
        "one byte": lambda: rng.integers(0, 128, count),
        "two bytes": lambda: rng.integers(128, 1 << 14, count),
        "up to two": lambda: rng.integers(0, 300, count),
        "up to five": lambda: rng.integers(0, 1 << 35, count) >> rng.integers(0, 35, count),
        "all lengths": lambda: rng.integers(-(2**63), 2**63 - 1, count) >> rng.integers(0, 63, count),
        "ten bytes": lambda: -rng.integers(1, 2**63 - 1, count),
    }[kind]()
    payload = varints.encode(values)
    np.testing.assert_array_equal(varints.decode(payload, values.dtype), values)


@pytest.mark.parametrize(
    "lengths", [[1] * 150_000 + [10] * 150_000, [10] * 150_000 + [1] * 150_000, [10, 1] * 90_000, [2] * 70_000 + [3]]
)
def test_varints_of_mixed_lengths_are_read(lengths):
    payload = b"".join(b"\x81" * (length - 1) + b"\x01" for length in lengths)
    lengths = np.array(lengths)
    want = sum(np.where(lengths > n, np.uint64(1) << np.uint64(7 * n), np.uint64(0)) for n in range(10))
    np.testing.assert_array_equal(varints.decode(payload, np.dtype("u8")), want)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4"])
@pytest.mark.parametrize("values", [[300, 5], [70_000, 1], [2**40 + 3], [-1, -129], [128], [16_383, 128]])
def test_values_are_cut_to_the_width_of_the_dtype(dtype, values):
    payload = varints.encode(np.array(values, "i8"))
    assert varints.decode(payload, np.dtype(dtype)).tolist() == np.array(values, "i8").astype(dtype).tolist()


@pytest.mark.parametrize("value", [1, 2, 127, 128, 256, 2**32, 2**63])
def test_every_bool_but_zero_is_true(value):
    payload = wire.varint(value) + b"\0"
    assert varints.decode(payload, np.dtype(bool)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("8000", 0),
        ("808000", 0),
        ("8100", 1),
        ("ff8000", 127),
        ("80808080808080808000", 0),
        ("ffffffffffffffffff7f", -1),
    ],
)
def test_needlessly_long_varints_are_read(payload, value):
    assert varints.decode(bytes.fromhex(payload), np.dtype("i8")).tolist() == [value]
    assert varints.decode(bytes.fromhex("05" + payload + "8001"), np.dtype("i8")).tolist() == [5, value, 128]


@pytest.mark.parametrize("payload", [b"\x80", b"\x05\x80", b"\xff" * 5, b"\x05" * varints.CHUNK + b"\x80"])
def test_a_varint_cut_off_is_an_error(payload):
    with pytest.raises(DecodeError, match=rf"expected a whole varint at the end of {len(payload)} bytes"):
        varints.decode(payload, np.dtype("i8"))


@pytest.mark.parametrize("extra", [1, 2, 100, 1_000_000])
@pytest.mark.parametrize("before", [b"", b"\x05" * 20, b"\x85\x01" * varints.CHUNK])
def test_a_varint_over_ten_bytes_is_an_error(before, extra):
    with pytest.raises(DecodeError, match=r"expected varints of at most 10 bytes, got"):
        varints.decode(before + b"\x80" * (9 + extra) + b"\x01", np.dtype("i8"))


def test_empty_bytes_hold_no_values():
    assert varints.decode(b"", np.dtype("i4")).tolist() == []
    assert varints.encode(np.array([], "i8")) == b""


@pytest.mark.parametrize("dtype", [">i8", ">u4", ">i2"])
def test_big_endian_and_strided_arrays_are_written_by_value(dtype):
    array = np.array([1, 200, 30_000, 4], dtype)
    want = b"".join(map(wire.varint, [1, 200, 30_000, 4]))
    assert varints.encode(array) == want
    assert varints.encode(np.repeat(array, 2)[::2]) == want


def test_bytes_of_every_kind_are_read():
    for data in (b"\x05\x80\x01", bytearray(b"\x05\x80\x01"), memoryview(b"\x05\x80\x01")):
        assert varints.decode(data, np.dtype("i4")).tolist() == [5, 128]
