"""Our tensors against TensorFlow's: its Python functions both ways, and its C++ decoder for what senders may write."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfs_client import make_ndarray, make_tensor_proto
from tfs_client._codec import predict_messages, tensors, wire
from tfs_client._codec.dtypes import ROWS, Field
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.values import as_array
from tfs_client.errors import DecodeError, EncodeError

from .samples import GOLDEN, HELD, of_row, packed, same, shape, tensor, unpacked

pytestmark = pytest.mark.peer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    from tensorflow_serving.apis import predict_pb2

QUICK = settings(max_examples=150, deadline=None, derandomize=True)

# TensorFlow's kernels hold these; its Python conversions know no qint* arrays of structures, see below.
COMMON = [row for row in HELD if not row.name.startswith(("qint", "quint"))]
QUANTIZED = [row for row in HELD if row not in COMMON]


def plain(array):
    """Quantized arrays as the integers they hold: TensorFlow's numpy face has changed over time."""
    return array if array.dtype.fields is None else array[array.dtype.names[0]]


def in_c(data, number):
    """What TensorFlow's C++ makes of a TensorProto; None when it refuses."""
    try:
        parsed = tf.io.parse_tensor(data, tf.dtypes.as_dtype(number))
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return None
    return np.asarray(parsed.numpy())


def agree(data, number):
    """We and the C++ decoder make the same of the bytes."""
    want = in_c(data, number)
    try:
        got = tensors.read(data)
    except DecodeError:
        got = None
    assert (got is None) == (want is None)
    if want is not None:
        want = np.array(want, object) if got.dtype.kind == "O" else want
        assert same(plain(got), plain(want))


# --- TensorFlow's Python


NUMBERS = ["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", ">f4", ">i8"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = st.sampled_from(NUMBERS).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
STRINGS = hnp.arrays(object, SHAPES, elements=st.binary(max_size=20), fill=st.nothing())


@QUICK
@given(ARRAYS | STRINGS, st.booleans())
def test_tensorflow_reads_what_we_write(array, typed):
    want = array.astype(array.dtype.newbyteorder("<"))
    for data in (tensors.write(array, typed=typed), make_tensor_proto(array).SerializeToString()):
        message = tensor_pb2.TensorProto.FromString(data)
        assert same(np.asarray(tf.make_ndarray(message)), want)
        assert same(np.asarray(in_c(data, message.dtype), want.dtype), want)


@QUICK
@given(ARRAYS | STRINGS)
def test_we_read_what_tensorflow_writes(array):
    native = array.astype(array.dtype.newbyteorder("<"))
    message = tf.make_tensor_proto(native)
    got = make_ndarray(message)
    assert same(got, native)
    assert got.flags.writeable
    assert same(tensors.read(message.SerializeToString()), native)


@QUICK
@given(ARRAYS | STRINGS)
def test_arrays_make_the_message_that_tensorflow_makes(array):
    native = array.astype(array.dtype.newbyteorder("<"))
    ours, theirs = make_tensor_proto(native), tf.make_tensor_proto(native)
    assert ours.dtype == theirs.dtype
    assert ours.tensor_shape.SerializeToString() == theirs.tensor_shape.SerializeToString()
    assert same(np.asarray(tf.make_ndarray(theirs)), make_ndarray(ours))


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (3, 4)], ids=str)
@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("row", COMMON, ids=lambda row: row.name)
def test_every_dtype_means_the_same_to_tensorflow(row, typed, sizes):
    array = of_row(row, sizes)
    assert tf.dtypes.as_dtype(row.number).name in (row.name, array.dtype.name)
    data = tensors.write(array, typed=typed)
    assert same(np.asarray(in_c(data, row.number), array.dtype), array)
    try:
        theirs = tf.make_tensor_proto(array, dtype=tf.dtypes.as_dtype(row.number))
    except TypeError:  # TensorFlow's Python writes fewer dtypes than its C++ reads
        assert row.extra
    else:
        assert same(make_ndarray(theirs), array)


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("row", QUANTIZED, ids=lambda row: row.name)
def test_quantized_dtypes_mean_the_same_to_tensorflow(row, typed):
    array = of_row(row, (3, 2))
    got = in_c(tensors.write(array, typed=typed), row.number)
    assert plain(got).tolist() == plain(array).tolist()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_numbers_and_names_of_dtypes_are_tensorflows(row):
    from tensorflow.core.framework import types_pb2

    assert types_pb2.DataType.Value(row.enum_name) == row.number
    if row.number:
        assert tf.dtypes.as_dtype(row.number).as_datatype_enum == row.number


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "string", "bool", "uint8", "complex64"])
def test_tensorflows_dtype_objects_are_accepted(dtype):
    theirs = getattr(tf, dtype)
    values = "a" if dtype == "string" else True
    assert make_tensor_proto(values, theirs).dtype == theirs.as_datatype_enum


@pytest.mark.parametrize(
    "values",
    [
        1, -1, True, 1.5, 1j, "é", b"\0a\0", "", 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63,
        [1, 2], [True, 2], [1, 2.5],
        [1.5, 2j], ["a", "b\0"], [[1, 2], [3, 4]], ((1, 2), (3, 4)), [], [[], []], (), [np.float64(1)], [np.int64(1)],
        np.float64(1), np.int64(1), np.float16(1), np.array(["a", "é"]), np.array([b"a"]), bytearray(b"ab"),
        np.arange(6).reshape(2, 3).T, np.arange(6)[::-2], np.asfortranarray(np.eye(2)),
    ],
    ids=repr,
)  # fmt: skip
def test_python_values_become_the_same_tensor(values):
    theirs = tf.make_tensor_proto(values)
    ours = make_tensor_proto(values)
    assert ours.dtype == theirs.dtype
    assert same(make_ndarray(ours), make_ndarray(theirs))


@pytest.mark.parametrize("values", [None, [1, "a"], ["a", 1], [2**64], [[1], [2, 3]], [None], {1: 2}], ids=repr)
def test_values_that_tensorflow_refuses_are_refused(values):
    with pytest.raises((TypeError, ValueError)):
        tf.make_tensor_proto(values)
    with pytest.raises(EncodeError):
        make_tensor_proto(values)


@pytest.mark.parametrize(
    ("values", "sizes"), [(1, [3]), ([1, 2], [5]), ([1, 2, 3, 4], [2, 2]), ("a", [2, 2]), (2.5, []), (["a", "b"], [3])]
)
def test_a_wanted_shape_means_the_same(values, sizes):
    theirs = tf.make_tensor_proto(values, shape=sizes)
    assert same(make_ndarray(make_tensor_proto(values, shape=sizes)), np.asarray(tf.make_ndarray(theirs)))
    assert same(make_ndarray(theirs), np.asarray(tf.make_ndarray(theirs)))


def test_a_tensor_of_tensorflow_is_an_array():
    assert same(as_array(tf.constant([1.5, 2.5])), np.array([1.5, 2.5], "f4"))
    assert same(as_array(tf.constant(["a", "b"])), np.array([b"a", b"b"], object))


@pytest.mark.parametrize(("array", "typed", "content"), GOLDEN)
def test_golden_bytes_are_tensorflows(array, typed, content):
    for data in map(bytes.fromhex, (typed, content)):
        message = tensor_pb2.TensorProto.FromString(data)
        assert message.SerializeToString(deterministic=True) == data
        assert same(np.array(in_c(data, message.dtype), array.dtype), array)


def test_published_predict_messages_read_and_write_ours():
    arrays = {row.name: of_row(row, (2, 3)) for row in COMMON}
    request = predict_pb2.PredictRequest.FromString(predict_messages.write_request(ModelSpec("m", 3), arrays, ["y"]))
    assert request.model_spec.version.value == 3
    assert list(request.output_filter) == ["y"]
    for name, array in arrays.items():
        assert same(
            np.asarray(in_c(request.inputs[name].SerializeToString(), request.inputs[name].dtype), array.dtype), array
        )
    response = predict_pb2.PredictResponse()
    for name, array in arrays.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array, dtype=tf.dtypes.as_dtype(name), shape=[2, 3]))
    response.model_spec.name = "m"
    spec, outputs = predict_messages.read_response(response.SerializeToString())
    assert spec == ModelSpec("m")
    assert all(same(outputs[name], array) for name, array in arrays.items())


# --- TensorFlow's C++


def content(data):
    return wire.delimited(4, data)


CASES = {
    "no value": tensor(9, (3,)),
    "no string": tensor(7, (2,)),
    "no bool": tensor(10, (2,)),
    "one value": tensor(9, (3,), packed(10, 5)),
    "fewer values": tensor(9, (4,), packed(10, 5, 6)),
    "fewer strings": tensor(7, (3,), b"\x42\1a\x42\2bc"),
    "fewer halves": tensor(19, (3,), packed(13, 15360, 16384)),
    "surplus": tensor(9, (2,), packed(10, 1, 2, 3)),
    "surplus strings": tensor(7, (1,), b"\x42\1a\x42\2bc"),
    "surplus float8": tensor(24, (1,), wire.delimited(18, b"\x3c\x3d")),
    "fewer float8": tensor(24, (3,), wire.delimited(18, b"\x3c\x3d")),
    "unpacked": tensor(9, (3,), unpacked(10, 1, -2, 300)),
    "a long unpacked run": tensor(9, (500,), unpacked(10, *range(500))),
    "unpacked floats": tensor(1, (2,), b"\x2d\0\0\x80\x3f\x2d\0\0\0\x40"),
    "both": tensor(9, (4,), packed(10, 1, 2), unpacked(10, 3), packed(10, 4)),
    "fields before the dtype": packed(10, 1, 2) + shape(2) + b"\x08\x09",
    "wrong field": tensor(9, (2,), packed(7, 1, 2)),
    "wrong field for a half": tensor(19, (1,), wire.delimited(5, b"\0\0\x80\x3f")),
    "int8 beyond its width": tensor(6, (2,), packed(7, 300, -129)),
    "uint8 beyond its width": tensor(4, (2,), packed(7, 300, -1)),
    "uint16 beyond its width": tensor(17, (2,), packed(7, 70_000, -1)),
    "int32 beyond its width": tensor(3, (1,), packed(7, 2**35 + 5)),
    "uint32 beyond its width": tensor(22, (1,), packed(16, 2**35 + 5)),
    "half beyond its width": tensor(19, (1,), packed(13, 0x13C00)),
    "bfloat16": tensor(14, (3,), packed(13, 16256, 0xC000)),
    "int4 beyond its width": tensor(29, (4,), packed(7, 7, 8, 300, -1)),
    "uint4 beyond its width": tensor(30, (4,), packed(7, 7, 8, 300, -1)),
    "int4 as content": tensor(29, (3,), content(b"\7\0\1")),
    "odd complex": tensor(8, (2,), wire.delimited(9, np.array([1, 2, 3], "f4").tobytes())),
    "half a complex": tensor(8, (2,), wire.delimited(9, np.array([1], "f4").tobytes())),
    "odd complex128": tensor(18, (3,), wire.delimited(12, np.array([1, 2, 3], "f8").tobytes())),
    "bools of other values": tensor(10, (3,), packed(11, 0, 5, 300)),
    "bool content": tensor(10, (2,), content(b"\0\1")),
    "bool content that is none": tensor(10, (2,), content(b"\0\2")),
    "content wins": tensor(9, (1,), content(np.array([5]).tobytes()), packed(10, 7)),
    "empty content": tensor(9, (1,), content(b""), packed(10, 7)),
    "short content": tensor(9, (1,), content(b"\0" * 7)),
    "long content": tensor(9, (1,), content(b"\0" * 9)),
    "strings as content": tensor(7, (2,), content(b"\1\2abc")),
    "strings as content, 2-d": tensor(7, (2, 2), content(b"\1\0\1\2abcd")),
    "a long string as content": tensor(7, (1,), content(b"\xac\2" + b"x" * 300)),
    "strings as content, too long": tensor(7, (2,), content(b"\1\2abcd")),
    "strings as content, too short": tensor(7, (2,), content(b"\1\2ab")),
    "strings as content, cut off": tensor(7, (2,), content(b"\1")),
    "no elements": tensor(1, (0, 3), content(b"abc"), wire.delimited(5, b"\0" * 8)),
    "no shape": b"\x08\x09" + packed(10, 5),
    "unknown rank": b"\x08\x09" + wire.delimited(2, b"\x18\1") + packed(10, 5),
    "unknown rank and sizes": b"\x08\x09" + wire.delimited(2, b"\x18\1") + shape(2) + packed(10, 5, 6),
    "negative size": tensor(9, (-1,), packed(10, 5)),
    "overflow": tensor(9, (2**62, 2**62), packed(10, 5)),
    "255 axes": tensor(9, (1,) * 255, packed(10, 5)),
    "names of axes": b"\x08\x09" + wire.delimited(2, wire.delimited(2, b"\x08\1\x12\4rows")) + packed(10, 5),
    "unknown fields": tensor(9, (1,), wire.delimited(99, b"x"), b"\xa3\x06\xa4\x06", packed(10, 5)),
    "cut off": tensor(9, (1,), packed(10, 5))[:-1],
    "a varint too long": tensor(9, (1,), wire.delimited(10, b"\x80" * 10 + b"\1")),
    "a needlessly long varint": tensor(9, (1,), wire.delimited(10, b"\x85\x80\0")),
    "half a float": tensor(1, (1,), wire.delimited(5, b"\0\0\0")),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_encodings_mean_what_tensorflow_reads(name):
    data = CASES[name]
    numbers = [value for tag, value, _ in wire.fields(data, 0, 2) if tag == 8] if data[0] == 8 else [9]
    agree(data, numbers[0])


@pytest.mark.parametrize("number", [0, 99, 101, 107])
def test_dtypes_that_tensorflow_refuses_are_refused(number):
    data = tensor(number, (1,), packed(10, 5), b"\x2d\0\0\0\0")
    with pytest.raises(DecodeError):
        tensors.read(data)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.parse_tensor(data, tf.float32)


# The rows whose values random bytes can be; quantized ones are in the cases of their own.
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from([row for row in COMMON if row.field is not Field.STRING]),
    st.lists(st.integers(0, 3), max_size=2),
    st.lists(st.integers(-300, 300) | st.integers(-(2**63), 2**63 - 1), max_size=6),
    st.booleans(),
)
def test_random_values_mean_what_tensorflow_reads(row, sizes, values, one_by_one):
    if row.field in (Field.INT, Field.INT64, Field.BOOL, Field.HALF, Field.UINT32, Field.UINT64):
        fields = unpacked(row.field, *values) if one_by_one else packed(row.field, *values)
    else:
        fields = wire.delimited(row.field, np.array(values, "i8").tobytes())
    agree(tensor(row.number, tuple(sizes), fields), row.number)
