"""make_tensor_proto and make_ndarray: TensorFlow's names, on messages of this package."""

import numpy as np
import pytest

from tfs_client import make_ndarray, make_tensor_proto
from tfs_client._codec import tensors
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_INT64, DT_STRING

from .samples import GOLDEN, HELD, of_row, packed, same, tensor


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (2, 3)], ids=str)
@pytest.mark.parametrize("row", HELD, ids=lambda row: row.name)
def test_every_dtype_there_and_back(row, sizes):
    array = of_row(row, sizes)
    proto = make_tensor_proto(array)
    assert isinstance(proto, TensorProto)
    assert proto.dtype == row.number
    assert same(make_ndarray(proto), array)


@pytest.mark.parametrize(("array", "typed", "content"), GOLDEN)
def test_golden_messages_are_read(array, typed, content):
    for data in (typed, content):
        assert same(make_ndarray(TensorProto.FromString(bytes.fromhex(data))), array)


def test_arrays_go_as_content_and_single_values_in_their_field():
    assert make_tensor_proto(np.ones(3, "f4")).tensor_content == np.ones(3, "f4").tobytes()
    assert list(make_tensor_proto(2.5).float_val) == [2.5]
    assert list(make_tensor_proto([7]).int_val) == [7]
    assert list(make_tensor_proto(["a", "b"]).string_val) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("values", "dtype", "number"),
    [(1, None, 3), (2**40, None, 9), (1.5, None, 1), ("a", None, 7), (True, None, 10), (1j, None, 18), ([], None, 1),
     (1, DT_INT64, 9), (1, "float64", 2), (1, np.uint8, 4), ([], DT_STRING, 7), (np.ones(2), DT_FLOAT, 1)],
)  # fmt: skip
def test_dtypes_are_tensorflows(values, dtype, number):
    assert make_tensor_proto(values, dtype).dtype == number


@pytest.mark.parametrize(
    ("values", "shape", "want"),
    [
        (1, (3,), [1, 1, 1]), ([1, 2], (2, 1), [[1], [2]]), ([1, 2], (4,), [1, 2, 2, 2]),
        ([[1, 2], [3, 4]], (4,), [1, 2, 3, 4]),
        ("a", (2,), [b"a", b"a"]), (["a", "b"], [3], [b"a", b"b", b"b"]),
        (5, (), 5), ([], (0, 2), []), (1, [1, 1], [[1]]),
        (np.arange(6), (2, 3), [[0, 1, 2], [3, 4, 5]]), (np.arange(6).reshape(2, 3).T, (6,), [0, 3, 1, 4, 2, 5]),
    ],
)  # fmt: skip
def test_values_take_the_wanted_shape_the_last_one_filling_it(values, shape, want):
    array = make_ndarray(make_tensor_proto(values, shape=shape))
    assert array.shape == tuple(shape)
    assert array.tolist() == want


def test_a_few_values_may_fill_a_large_shape():
    array = make_ndarray(make_tensor_proto([1, 2], shape=(100_000,)))
    assert array[0] == 1
    assert (array[1:] == 2).all()


@pytest.mark.parametrize(
    ("values", "shape"), [([1, 2, 3], (2,)), (1, (0,)), ([], (1,)), ([1, 2], ()), (1, (-1,)), (1, 2)]
)
def test_a_shape_that_does_not_fit_the_values_is_refused(values, shape):
    with pytest.raises(EncodeError, match=r"expected up to \d+ values for shape .*, got \d|expected a shape "):
        make_tensor_proto(values, shape=shape)


def test_values_that_fit_no_tensor_are_refused():
    for values in (None, [1, "a"], [[1], [2, 3]], {}, np.zeros(1, "M8[s]")):
        with pytest.raises(EncodeError):
            make_tensor_proto(values)


def test_a_message_is_returned_unchanged():
    proto = make_tensor_proto(1)
    assert make_tensor_proto(proto) is proto


@pytest.mark.parametrize("values", [1.5, [1, 2], np.zeros((2, 2)), ["a", "b"], np.array([True, False])])
def test_returned_arrays_belong_to_the_caller(values):
    array = make_ndarray(make_tensor_proto(values))
    assert array.flags.writeable
    assert array.flags.owndata
    array[...] = array.copy()
    broadcast = make_ndarray(make_tensor_proto(1, shape=(2, 2)))
    broadcast[0, 0] = 5
    assert broadcast.tolist() == [[5, 1], [1, 1]]


def test_messages_of_other_libraries_are_accepted():
    class Foreign:
        def SerializeToString(self):
            return tensors.write(np.arange(3))

    assert make_ndarray(Foreign()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [b"\x08\x01", np.ones(2), None, 5, "text"])
def test_an_object_that_is_not_a_message_is_refused_by_its_type(value):
    with pytest.raises(DecodeError, match=rf"expected a TensorProto message, got {type(value).__name__}"):
        make_ndarray(value)


def test_a_message_that_contradicts_itself_is_refused():
    with pytest.raises(DecodeError, match=r"needs 8 bytes of tensor content, got 3"):
        make_ndarray(TensorProto.FromString(tensor(1, (2,), b"\x22\x03abc")))
    with pytest.raises(DecodeError, match=r"expected a tensor dtype"):
        make_ndarray(TensorProto())
    with pytest.raises(DecodeError, match=r"expected a known size for axis 0, got -1"):
        make_ndarray(TensorProto.FromString(tensor(9, (-1,), packed(10, 1))))
