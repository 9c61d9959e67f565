"""TensorProto to array and back: golden bytes, every dtype, every encoding a sender may choose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfs_client._codec import many_strings, tensors, wire
from tfs_client._codec.dtypes import BY_NAME, Field, row_of
from tfs_client._codec.many_strings import FEW, MANY
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

from .samples import FIELDS, GOLDEN, HELD, NUMERIC, of_row, packed, reference, same, shape, tensor, unpacked

SHAPES = [(), (0,), (1,), (3,), (2, 0, 3), (2, 3), (130, 5), (1, 1, 1)]
QUICK = settings(max_examples=80, deadline=None, derandomize=True)


def by_name(row):
    return row.name


# --- golden bytes


@pytest.mark.parametrize(("array", "typed", "content"), GOLDEN)
def test_golden_bytes_are_read_and_written(array, typed, content):
    typed, content = bytes.fromhex(typed), bytes.fromhex(content)
    assert same(tensors.read(typed), array)
    assert same(tensors.read(content), array)
    assert tensors.write(array, typed=True) == typed
    if array.dtype.kind == "O":
        assert tensors.strings_content(array) == content[-5:]
        assert tensors.write(array) == typed
    else:
        assert tensors.write(array) == content


def test_a_tensor_is_read_in_place():
    data = b"\xff\xff" + bytes.fromhex(GOLDEN[0][1]) + b"\xff"
    assert tensors.read(data, 2, len(data) - 1).tolist() == [1.0, 2.5]


# --- every dtype


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("row", HELD, ids=by_name)
def test_every_dtype_survives_both_encodings(row, typed, sizes):
    array = of_row(row, sizes)
    data = tensors.write(array, typed=typed)
    got = tensors.read(data)
    assert same(got, array)
    assert not got.flags.writeable
    proto = TensorProto.FromString(data)
    assert proto.dtype == row.number
    assert proto.HasField("tensor_shape")
    assert tuple(dim.size for dim in proto.tensor_shape.dim) == sizes
    assert same(reference(proto), array)
    if typed or row.name == "string":
        assert not proto.tensor_content
    else:
        assert proto.tensor_content == array.tobytes()
        assert {field.name for field, _ in proto.ListFields()} <= {"dtype", "tensor_shape", "tensor_content"}


@pytest.mark.parametrize("row", NUMERIC, ids=by_name)
def test_typed_fields_hold_exactly_one_value_per_element(row):
    proto = TensorProto.FromString(tensors.write(of_row(row, (2, 5)), typed=True))
    values = getattr(proto, FIELDS[row.field])
    assert len(values) == (20 if row.name.startswith("complex") else 10)


@pytest.mark.parametrize("name", ["resource", "variant", "invalid"])
def test_dtypes_without_values_cannot_be_written(name):
    with pytest.raises(EncodeError, match=rf"{name} tensors cannot be written"):
        tensors.values_field(np.zeros(1), BY_NAME[name])


def test_every_signed_value_of_narrow_types_keeps_its_bits():
    for dtype in ("i1", "u1", "i2", "u2"):
        info = np.iinfo(dtype)
        array = np.arange(info.min, info.max + 1).astype(dtype)
        assert same(tensors.read(tensors.write(array, typed=True)), array)


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
def test_every_half_pattern_keeps_its_bits(typed):
    array = np.arange(1 << 16, dtype="<u2").view("<f2")
    assert tensors.read(tensors.write(array, typed=typed)).tobytes() == array.tobytes()


# --- property: any array, any encoding


FLOATS = ["<f2", "<f4", "<f8", "<c8", "<c16"]
PLAIN = ["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", *FLOATS, ">f4", ">i8", ">f2", ">c8", ">u2"]


def arrays():
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    numbers = st.sampled_from(PLAIN).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    strings = hnp.arrays(object, shapes, elements=st.binary(max_size=300), fill=st.nothing())
    return numbers | strings


@QUICK
@given(arrays(), st.booleans(), st.sampled_from(["", "T", "reversed"]))
def test_any_array_is_written_as_protobuf_reads_it_and_read_back(array, typed, twist):
    if twist == "T":
        array = array.T
    elif twist and array.ndim:
        array = array[::-1]
    data = tensors.write(array, typed=typed)
    want = array.astype(array.dtype.newbyteorder("<"))
    got = tensors.read(data)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype.kind == "O":
        assert got.tolist() == want.tolist()
    else:
        assert got.tobytes() == want.tobytes()
    assert same(reference(TensorProto.FromString(data)), got)


@st.composite
def encodings(draw):
    """A message with the values of one field packed, unpacked or in fragments, and noise around them."""
    row = draw(st.sampled_from([row for row in HELD if row.field is not Field.FLOAT8]))
    name = FIELDS[row.field]
    count = draw(st.integers(0, 9))
    if row.name == "string":
        values = draw(st.lists(st.binary(max_size=200), max_size=12))
        pieces = [TensorProto(string_val=[value]).SerializeToString() for value in values]
    else:
        wide = row.field in (Field.FLOAT, Field.DOUBLE, Field.SCOMPLEX, Field.DCOMPLEX)
        width = 4 if row.field in (Field.FLOAT, Field.SCOMPLEX) else 8
        if wide:
            raw = [draw(st.binary(min_size=width, max_size=width)) for _ in range(draw(st.integers(0, 12)))]
            kind = wire.FIXED32 if width == 4 else wire.FIXED64
        else:
            raw = [wire.varint(value) for value in draw(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300)))]
            kind = wire.VARINT
        pieces = []
        while raw:
            cut = draw(st.integers(1, len(raw)))
            if draw(st.booleans()):
                pieces.append(wire.delimited(row.field, b"".join(raw[:cut])))
            else:
                pieces += [wire.varint(wire.tag(row.field, kind)) + value for value in raw[:cut]]
            raw = raw[cut:]
    assert name
    noise = [
        b"\x18\x05", unpacked(7, 9), packed(10, 1, 2), b"\x2d\0\0\x80\x3f", b"\xa3\x06\x08\x01\xa4\x06", b"\x52\0",
        wire.delimited(99, b"noise"), b"\xa5\x06\0\0\0\0", wire.delimited(8, b"x"), b"\x12\0", wire.delimited(14, b""),
    ]  # fmt: skip
    frame = [b"\x08" + wire.varint(row.number), shape(count)]
    frame += draw(st.lists(st.sampled_from(noise), max_size=4))
    # The values stay in order; all else may stand anywhere between them.
    for piece in frame:
        pieces.insert(draw(st.integers(0, len(pieces))), piece)
    return b"".join(pieces)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(encodings())
def test_values_are_read_packed_unpacked_in_fragments_and_in_any_order(data):
    want = reference(TensorProto.FromString(data))
    try:
        got = tensors.read(data)
    except DecodeError as error:
        assert "repeating the last one would take" in str(error)  # noqa: PT017
    else:
        assert same(got, want)


LONG = [1, 31, 32, 33, 34, 64, 1000, 70_000]


@pytest.mark.parametrize("count", LONG)
@pytest.mark.parametrize("name", ["int64", "uint32", "bool", "int8", "half", "float", "double", "complex64"])
def test_unpacked_runs_of_every_length_are_read(name, count):
    row = BY_NAME[name]
    values = of_row(row, (count,))
    if row.field in (Field.FLOAT, Field.DOUBLE, Field.SCOMPLEX):
        width = 8 if row.field is Field.DOUBLE else 4
        tag = bytes((wire.tag(row.field, wire.FIXED64 if width == 8 else wire.FIXED32),))
        raw = values.tobytes()
        fields = b"".join(tag + raw[at : at + width] for at in range(0, len(raw), width))
    else:
        raw = values.view("<u2") if row.name == "half" else values
        fields = unpacked(row.field, *map(int, raw))
    data = tensor(row.number, (count,), fields)
    assert same(tensors.read(data), values)
    assert same(tensors.read(tensor(row.number, (count,)) + fields + unpacked(7, 1) + b"\x18\x01"), values)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 40, 100])
def test_runs_that_alternate_with_others_are_read(count):
    fields = (unpacked(10, *range(count)) + unpacked(7, *range(count)) + packed(10, 5)) * 3
    got = tensors.read(tensor(9, (3 * count + 3,), fields))
    assert got.tolist() == [*range(count), 5] * 3


def test_the_last_of_a_repeated_scalar_counts_and_repeated_shapes_are_merged():
    data = b"\x08\x01" + shape(2) + b"\x08\x09" + shape(2) + packed(10, 1, 2, 3, 4)
    assert tensors.read(data).tolist() == [[1, 2], [3, 4]]
    content = wire.delimited(4, b"no") + wire.delimited(4, np.arange(2).tobytes())
    assert tensors.read(tensor(9, (2,), content)).tolist() == [0, 1]


# --- fewer or more values than elements


@pytest.mark.parametrize("row", NUMERIC, ids=by_name)
def test_no_value_means_zeros_and_one_value_fills_the_tensor_without_memory(row):
    zeros = tensors.read(tensor(row.number, (2000, 3000)))
    assert zeros.shape == (2000, 3000)
    assert zeros[1999, 2999] == np.zeros((), row.dtype)[()]
    one = of_row(row, (1,), seed=3)
    head, payload = tensors.values_field(one, row)
    filled = tensors.read(tensor(row.number, (2000, 3000), head, bytes(payload)))
    assert filled[0, 0] == filled[1999, 2999] == one[0]
    assert filled.strides == zeros.strides == (0, 0)
    assert not filled.flags.writeable
    assert not zeros.flags.writeable


def test_no_string_means_empty_strings_and_one_fills_the_tensor():
    assert tensors.read(tensor(7, (2, 2))).tolist() == [[b"", b""], [b"", b""]]
    assert tensors.read(tensor(7, (3,), wire.delimited(8, b"x"))).tolist() == [b"x"] * 3
    assert tensors.read(tensor(7, ())).tolist() == b""


@pytest.mark.parametrize("row", HELD, ids=by_name)
def test_the_last_of_a_few_values_is_repeated(row):
    values = of_row(row, (3,))
    head, payload = tensors.values_field(values, row)
    got = tensors.read(tensor(row.number, (2, 2), head, bytes(payload)))
    assert same(got.reshape(-1), values[[0, 1, 2, 2]])


@pytest.mark.parametrize("row", HELD, ids=by_name)
@pytest.mark.parametrize("sizes", [(), (2,), (0,)], ids=str)
def test_surplus_values_are_ignored(row, sizes):
    values = of_row(row, (5,))
    head, payload = tensors.values_field(values, row)
    got = tensors.read(tensor(row.number, sizes, head, bytes(payload)))
    assert same(got, values[: int(np.prod(sizes))].reshape(sizes))


def test_repeating_a_value_is_refused_where_it_would_take_far_more_than_the_message():
    data = tensor(9, (1_000_000,), packed(10, 1, 2))
    with pytest.raises(
        DecodeError, match=r"int64 \(1000000,\) needs 1000000 values, got 2; repeating .* 8000000 bytes"
    ):
        tensors.read(data)
    assert tensors.read(data, budget=10_000_000)[-1] == 2


def test_a_tensor_without_elements_ignores_values_and_content():
    data = tensor(1, (0, 3), wire.delimited(4, b"abc"), wire.delimited(5, b"\0" * 8))
    assert tensors.read(data).shape == (0, 3)


# --- views


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("row", NUMERIC, ids=by_name)
def test_replies_are_viewed_rather_than_copied_wherever_the_bytes_allow(row, typed):
    array = of_row(row, (40, 3))
    data = tensors.write(array, typed=typed)
    got = tensors.read(data)
    varint = typed and row.field not in (Field.FLOAT, Field.DOUBLE, Field.SCOMPLEX, Field.DCOMPLEX, Field.FLOAT8)
    if not varint or row.name == "bool":
        assert np.shares_memory(got.view(np.uint8), np.frombuffer(data, np.uint8))
    assert not got.flags.writeable
    with pytest.raises(ValueError, match=r"read-only"):
        got[...] = got


# --- TensorFlow's details


def test_halves_are_raw_patterns_and_narrow_integers_are_cut():
    assert tensors.read(tensor(19, (2,), packed(13, 15360, 0xC000))).tolist() == [1.0, -2.0]
    assert tensors.read(tensor(4, (2,), packed(7, 300, -1))).tolist() == [44, 255]
    assert tensors.read(tensor(17, (2,), packed(7, 70000, -1))).tolist() == [4464, 65535]
    assert tensors.read(tensor(11, (2,), packed(7, 200, 5)))["qint8"].tolist() == [-56, 5]


@pytest.mark.skipif(BY_NAME["int4"] not in HELD, reason="needs ml_dtypes")
def test_narrow_types_of_ml_dtypes_are_cut_as_tensorflow_cuts_them():
    values = packed(7, 7, 8, 300, -1)
    assert tensors.read(tensor(29, (4,), values)).astype(int).tolist() == [7, -8, -4, -1]
    assert tensors.read(tensor(30, (4,), values)).astype(int).tolist() == [7, 8, 12, 15]
    assert tensors.read(tensor(31, (4,), packed(7, 1, 2, 3, -1))).astype(int).tolist() == [1, -2, -1, -1]
    assert tensors.read(tensor(14, (2,), packed(13, 16256, 0xC000))).astype(float).tolist() == [1.0, -2.0]


@pytest.mark.parametrize(("number", "field", "width"), [(8, 9, "<f4"), (18, 12, "<f8")])
def test_an_odd_component_of_complex_values_is_dropped(number, field, width):
    parts = wire.delimited(field, np.array([1, 2, 3], width).tobytes())
    assert tensors.read(tensor(number, (2,), parts)).tolist() == [1 + 2j, 1 + 2j]
    only = wire.delimited(field, np.array([1], width).tobytes())
    assert tensors.read(tensor(number, (2,), only)).tolist() == [0, 0]


def test_values_in_a_field_of_another_dtype_are_ignored():
    assert tensors.read(tensor(9, (2,), packed(7, 1, 2))).tolist() == [0, 0]
    assert tensors.read(tensor(1, (1,), wire.delimited(6, b"\1" * 8))).tolist() == [0]


def test_content_wins_over_values_unless_it_is_empty():
    values = packed(10, 7)
    assert tensors.read(tensor(9, (1,), wire.delimited(4, np.array([5]).tobytes()), values)).tolist() == [5]
    assert tensors.read(tensor(9, (1,), wire.delimited(4, b""), values)).tolist() == [7]


def test_only_the_last_float8_field_counts():
    if BY_NAME["float8_e5m2"] not in HELD:
        pytest.skip("needs ml_dtypes")
    data = tensor(24, (2,), wire.delimited(18, b"\x3d\x3d\x3d"), wire.delimited(18, b"\x3c\x3d"))
    assert tensors.read(data).astype(float).tolist() == [1, 1.25]


def test_strings_as_content_are_read_and_written():
    array = np.array([[b"", b"a" * 300], [b"\0", b"bc"]], object)
    content = tensors.strings_content(array)
    got = tensors.read(tensor(7, (2, 2), wire.delimited(4, content)))
    assert same(got, array)


@pytest.mark.parametrize(
    ("count", "content"),
    [(2, "01 02 61 62"), (2, "01 02 61 6263 64"), (2, "01"), (2, "0180"), (1, "80" * 20), (3, "ff" * 9 + "01 00 00 61"),
     (2, "ffffffffffffffffff01 01 61"), (1, "8080808080808080808001 00"), (1_000_000, "00"), (5, "01 02 61 6263")],
)  # fmt: skip
def test_strings_as_content_with_wrong_lengths_are_an_error(count, content):
    with pytest.raises(DecodeError, match=r"string|varint"):
        tensors.read(tensor(7, (count,), wire.delimited(4, bytes.fromhex(content))))


@pytest.mark.parametrize("content", [b"\2\1", b"\1\xff", b"\x80\0"])
def test_bool_content_is_zeros_and_ones(content):
    with pytest.raises(DecodeError, match=r"bool \(2,\) needs bytes of 0 or 1 as tensor content, got \d"):
        tensors.read(tensor(10, (2,), wire.delimited(4, content)))
    assert tensors.read(tensor(10, (2,), wire.delimited(4, b"\1\0"))).tolist() == [True, False]


@pytest.mark.parametrize(("size", "need"), [(7, 8), (9, 8), (1, 8), (16, 8)])
def test_content_of_a_wrong_length_names_both_lengths(size, need):
    with pytest.raises(DecodeError, match=rf"float \(2,\) needs {need} bytes of tensor content, got {size}"):
        tensors.read(tensor(1, (2,), wire.delimited(4, b"\0" * size)))


def test_typed_values_cut_in_the_middle_are_an_error():
    with pytest.raises(DecodeError, match=r"float \(2,\) needs whole values of 4 bytes, got 7 bytes"):
        tensors.read(tensor(1, (2,), wire.delimited(5, b"\0" * 7)))
    with pytest.raises(DecodeError, match=r"complex64 .* needs whole values of 4 bytes, got 6 bytes"):
        tensors.read(tensor(8, (1,), wire.delimited(9, b"\0" * 6)))
    with pytest.raises(DecodeError, match=r"expected a whole varint"):
        tensors.read(tensor(9, (1,), wire.delimited(10, b"\x80")))


# --- dtypes and shapes


@pytest.mark.parametrize("number", [0, 34, 99, 101, 107, 2**31])
def test_unknown_and_reference_dtypes_are_an_error(number):
    with pytest.raises(DecodeError, match=rf"expected a tensor dtype from 1 to 33, got {number}"):
        tensors.read(tensor(number, (1,)))


def test_a_dtype_number_is_truncated_to_32_bits():
    assert tensors.read(tensor(2**32 + 9, (1,), packed(10, 5))).tolist() == [5]


def test_a_value_may_not_span_two_pieces_of_a_field():
    for number, field, one, two in ((9, 10, b"\x85", b"\x05"), (1, 5, b"\0\0", b"\0\0")):
        with pytest.raises(DecodeError, match=rf"expected whole values in field {field} .*, got one that is cut off"):
            tensors.read(tensor(number, (1,), wire.delimited(field, one), wire.delimited(field, two)))


@pytest.mark.parametrize("number", [20, 21])
def test_resources_and_variants_are_an_error(number):
    with pytest.raises(DecodeError, match=r"have no numpy dtype"):
        tensors.read(tensor(number, (1,)))


def test_a_missing_shape_means_a_scalar():
    assert tensors.read(b"\x08\x09" + packed(10, 5)).shape == ()
    assert tensors.read(b"\x08\x09").tolist() == 0


def test_an_unknown_rank_is_ignored():
    unknown = wire.delimited(2, b"\x18\x01")
    assert tensors.read(b"\x08\x09" + unknown + packed(10, 5)).tolist() == 5
    assert tensors.read(b"\x08\x09" + unknown + shape(2) + packed(10, 5, 6)).tolist() == [5, 6]


def test_names_of_dims_are_ignored():
    dims = wire.delimited(2, wire.delimited(2, b"\x12\x04rows\x08\x02"))
    assert tensors.read(b"\x08\x09" + dims + packed(10, 5, 6)).tolist() == [5, 6]


@pytest.mark.parametrize("sizes", [(-1,), (2, -1), (0, -1), (-(2**63),)])
def test_negative_sizes_are_an_error(sizes):
    with pytest.raises(DecodeError, match=r"expected a known size for axis \d, got -\d"):
        tensors.read(tensor(1, sizes))


def test_more_axes_than_tensorflow_has_are_an_error():
    with pytest.raises(DecodeError, match=r"expected at most 254 axes"):
        tensors.read(tensor(1, (1,) * 255))


@pytest.mark.parametrize("values", [b"", packed(10, 1), packed(10, 1, 2)], ids=["none", "one", "two"])
@pytest.mark.parametrize(
    "sizes",
    [(2**62,), (2**61, 1), (2**31, 2**31), (2**63 - 1,), (2**32, 2**32), (2**62, 2**62, 2**62), (1,) * 65, (1,) * 254,
     (0,) * 70, (0, 2**62, 2**62), (2**62, 2**62, 0), (2**63 - 1, 2, 0)],
    ids=lambda sizes: str(sizes)[:30],
)  # fmt: skip
def test_shapes_beyond_numpys_limits_are_an_error_of_this_package(sizes, values):
    with pytest.raises(DecodeError, match=r"expected|needs"):
        tensors.read(tensor(9, sizes, values))


@pytest.mark.parametrize("sizes", [(1,) * 32, (1,) * 31 + (7,)], ids=["32", "31 and 7"])
def test_as_many_axes_as_every_numpy_supports_are_read(sizes):
    assert tensors.read(tensor(9, sizes, packed(10, *range(7)))).shape == sizes


def test_heads_are_cached_by_dtype_and_shape():
    one, two = row_of(np.dtype("f4")), row_of(np.dtype("f8"))
    assert tensors.head(one, (2, 0)) == bytes.fromhex("0801 1206 12020802 1200")
    assert tensors.head(two, (2, 0)) == bytes.fromhex("0802 1206 12020802 1200")
    assert tensors.head(one, ()) == bytes.fromhex("0801 1200")


@pytest.mark.parametrize("imported", [True, False])
@pytest.mark.parametrize("count", [FEW - 1, FEW, FEW + 1, MANY - 1, MANY, MANY + 1, 3 * MANY])
def test_many_strings_are_read_regardless_of_the_next_field(count: int, imported: bool, monkeypatch) -> None:
    """Above a certain number protobuf takes over; results must not depend on it."""
    from tfs_client.protos.tensorflow.core.framework import tensor_pb2

    values = np.array([b"%d" % n for n in range(count)], object)
    schema = tensor_pb2.__name__ if imported else "not imported"
    monkeypatch.setattr(many_strings, "_SCHEMA", schema)
    data = tensors.write(values)
    message = tensor_pb2.TensorProto(dtype=7, string_val=list(values))
    message.tensor_shape.dim.add(size=count)
    assert tensor_pb2.TensorProto.FromString(data) == message
    np.testing.assert_array_equal(tensors.read(data), values)
    shape_last = data.replace(data[:2], b"", 1) + data[:2]  # dtype behind the strings
    np.testing.assert_array_equal(tensors.read(shape_last), values)
    with pytest.raises(DecodeError):
        tensors.read(data[:-1])


@pytest.mark.parametrize("convert", [np.bytes_, np.str_, str])
def test_many_strings_of_other_classes_are_written(convert) -> None:
    words = [b"word %d" % n for n in range(MANY + 1)]
    array = np.empty(len(words), object)
    array[:] = [convert(word) if convert is np.bytes_ else convert(word.decode()) for word in words]
    assert tensors.read(tensors.write(array)).tolist() == words


def test_long_strings_between_short_ones_keep_their_place() -> None:
    values = np.array([b"x" * (n % 300) for n in range(2 * MANY)], object)
    np.testing.assert_array_equal(tensors.read(tensors.write(values)), values)


@pytest.mark.parametrize("dtype", [1, 22])
def test_a_run_of_single_values_ends_where_a_varint_is_too_long(dtype):
    run = b"\x80\x01\x05" * 40
    for after in (b"", run):
        data = tensor(dtype, (1,), run + b"\x80\x01" + b"\xff" * 10 + b"\x01" + after)
        with pytest.raises(DecodeError, match="a varint of at most 10 bytes"):
            tensors.read(data)
