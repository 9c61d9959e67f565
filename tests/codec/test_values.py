"""Python values to arrays: TensorFlow's widths, and nothing lost on the way."""

import numpy as np
import pytest

from tfs_client._codec import tensors
from tfs_client._codec.values import as_array
from tfs_client.errors import EncodeError

from .samples import HAS_ML_DTYPES


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (True, "bool"), ([True, False], "bool"), (1, "int32"), ([1, 2], "int32"), ([True, 2], "int32"),
        (2**31 - 1, "int32"), (-(2**31), "int32"), (2**31, "int64"), (-(2**31) - 1, "int64"), ([1, 2**40], "int64"),
        (2**63 - 1, "int64"), (2**63, "uint64"), ([0, 2**63], "uint64"), ([2**64 - 1, 1], "uint64"),
        (1.5, "float32"), ([1, 2.5], "float32"), ([2**63, 0.5], "float32"), (1j, "complex128"), ([1, 2j], "complex128"),
        ([], "float32"), ([[], []], "float32"), ((), "float32"),
        (range(3), "int32"), (range(2**31, 2**31 + 2), "int64"),
        (((1, 2), [3, 4]), "int32"), ([np.float64(1), np.float64(2)], "float32"), ([np.int64(5)], "int32"),
        ([np.zeros(2), np.ones(2)], "float32"), (bytearray(b"ab"), "uint8"), (memoryview(b"ab"), "uint8"),
    ],
)  # fmt: skip
def test_python_numbers_get_tensorflows_widths(values, dtype):
    array = as_array(values)
    assert array.dtype == dtype
    assert array.tolist() == np.array(values).tolist() or dtype == "uint64"


def test_integers_beyond_int64_keep_every_digit():
    assert as_array([0, 2**64 - 1]).tolist() == [0, 2**64 - 1]


@pytest.mark.parametrize("values", [2**64, [2**64], [1, 2**70], [-1, 2**63], -(2**63) - 1, [2**64, -1]])
def test_integers_that_fit_no_tensor_are_refused(values):
    with pytest.raises(EncodeError, match=r"expected integers of at most 64 bits"):
        as_array(values)


def test_a_float_that_float32_cannot_hold_is_refused_rather_than_made_infinite():
    with pytest.raises(EncodeError, match=r"expected values that fit float32, got 1e\+300; ask for a wider dtype"):
        as_array(1e300)
    assert as_array(1e300, "float64") == 1e300
    assert as_array([float("inf"), float("-inf")]).tolist() == [float("inf"), float("-inf")]
    assert np.isnan(as_array(float("nan")))


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ("a", [b"a"]), (b"a", [b"a"]), ("é", ["é".encode()]), ("a\0", [b"a\0"]), (b"\0\0", [b"\0\0"]), ("", [b""]),
        (["a", b"b"], [b"a", b"b"]), ([b"a\0", "b\0"], [b"a\0", b"b\0"]), ([["a"], ["b"]], [b"a", b"b"]),
        (("x", "y"), [b"x", b"y"]), (np.str_("s"), [b"s"]), (np.bytes_(b"s"), [b"s"]),
        ([np.str_("s"), "t"], [b"s", b"t"]),
        (np.array(["é", "bc"]), ["é".encode(), b"bc"]), (np.array([b"a", b"bc"]), [b"a", b"bc"]),
        (np.array(["a", b"\xff"], object), [b"a", b"\xff"]), ([np.array(["a"]), np.array(["b"])], [b"a", b"b"]),
    ],
)  # fmt: skip
def test_strings_become_bytes_whole_with_trailing_nuls(values, sent):
    array = as_array(values)
    assert tensors.read(tensors.write(array)).ravel().tolist() == sent
    assert tensors.read(tensors.write(array)).shape == array.shape


def test_a_single_value_is_a_scalar():
    assert as_array(1).shape == as_array("text").shape == as_array(2.5).shape == ()


@pytest.mark.parametrize("values", [[[1], [2, 3]], [[1, 2], 3], [["a"], "b"], [[], [1]], ["a", ["b", "c"]]])
def test_ragged_lists_are_refused(values):
    with pytest.raises(EncodeError, match=r"expected"):
        as_array(values)


@pytest.mark.parametrize("values", [[1, "a"], ["a", 1], [1.5, b"a"], [[1], ["a"]], [True, "a"]])
def test_strings_mixed_with_others_are_refused(values):
    with pytest.raises(EncodeError, match=r"expected str or bytes in an object array, got"):
        as_array(values)


@pytest.mark.parametrize(
    "values",
    [[None], {"a": 1}, {1, 2}, iter([1]), object(), [object()], [1, None], ["a", None]],
)
def test_objects_that_are_not_values_are_refused_with_their_type(values):
    with pytest.raises(
        EncodeError, match=r"expected numbers, str or bytes, got (None|dict|set|list_iterator|object); "
    ):
        as_array(values)


@pytest.mark.parametrize(
    ("array", "kind", "index"),
    [
        (np.array(["a", 1], object), "int", "1"),
        (np.array([None]), "None", "0"),
        (np.array([["a"], [2.5]], object), "float", r"\(1, 0\)"),
        (np.array(["é", float("nan")], object), "NaN", "1"),
        (np.array([b"a", [1]], object), "list", "1"),
    ],
)
def test_object_arrays_of_other_values_are_refused_with_the_index(array, kind, index):
    text = f"expected str or bytes in an object array, got {kind} at element {index}; "
    for write in (as_array, tensors.write, tensors.strings_content, lambda array: as_array(array, "string")):
        with pytest.raises(EncodeError, match=text):
            write(array)


def test_none_is_refused():
    with pytest.raises(EncodeError, match=r"expected a tensor, got None; leave the input out"):
        as_array(None)


@pytest.mark.parametrize(
    "values",
    [
        np.datetime64(1, "s"),
        np.zeros(2, "m8[s]"),
        np.zeros(2, "V4"),
        np.zeros(2, "i4,f4"),
    ],
)
def test_arrays_of_unsupported_dtypes_are_refused(values):
    with pytest.raises(EncodeError, match=r"has no tensor dtype; a tensor can hold"):
        as_array(values)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "u8", "f2", "f8", "c8", ">i4", ">f8", "S3", "U2"])
def test_arrays_and_numpy_scalars_keep_their_dtype(dtype):
    array = np.zeros((2, 3), dtype)
    assert as_array(array).dtype == array.dtype
    scalar = array[0, 0]
    assert as_array(scalar).dtype.kind in (array.dtype.kind, "O")
    if array.dtype.kind not in "SU":
        assert as_array(scalar).dtype == scalar.dtype


LAYOUTS = {
    "C order": lambda a: a,
    "F order": np.asfortranarray,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[:, ::2],
    "reversed": lambda a: a[::-1, ::-1],
    "zero stride": lambda a: np.broadcast_to(a[0, 0], (3, 4)),
    "0-d": lambda a: a[1, 1, ...],
    "empty": lambda a: a[:0],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i8", "<f2", ">f2", "?", "<c8", ">u2"])
@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
def test_every_memory_layout_is_sent_in_c_order(layout, dtype, typed):
    array = LAYOUTS[layout]((np.arange(12).reshape(3, 4) % 5).astype(dtype))
    before = array.copy()
    got = tensors.read(tensors.write(as_array(array), typed=typed))
    assert got.shape == array.shape
    assert got.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(got, array)
    np.testing.assert_array_equal(array, before)


def test_arrays_that_need_no_cast_are_passed_on_uncopied():
    array = np.zeros(4, np.float32)
    assert as_array(array) is array
    assert as_array(array, "float32") is array


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (1, "float32"), (True, "int8"), (True, "complex64"), ([1, 2], "uint8"), (255, "uint8"), (-128, "int8"),
        (2**63, "uint64"), (2**63 - 1, "int64"), (1.5, "half"), (1.5, "float64"), (2, "complex128"), ([], "int64"),
        ([], "bool"), (7, "qint8"), (200, "quint8"),
    ],
)  # fmt: skip
def test_python_values_take_the_wanted_dtype_where_they_fit(values, dtype):
    array = as_array(values, dtype)
    plain = array if array.dtype.fields is None else array[dtype]
    assert np.array_equal(plain, np.array(values))
    assert tensors.read(tensors.write(array)).dtype == array.dtype


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (300, "uint8"), (-1, "uint8"), (-1, "uint64"), ([-1, 5], "uint32"), (2**63, "int64"), (2**31, "int32"),
        (1.5, "int32"), (1.0, "int64"), (1, "bool"), (1j, "float32"), (200, "qint8"), (1e6, "half"), (1e39, "float32"),
        (1, "string"), ("a", "int32"), (["a"], "float32"), ([1.5], str),
    ],
)  # fmt: skip
def test_python_values_that_do_not_fit_the_wanted_dtype_are_refused(values, dtype):
    with pytest.raises(EncodeError, match=r"expected (\w+ )?values"):
        as_array(values, dtype)


def test_arrays_are_cast_to_the_wanted_dtype_as_astype_would():
    assert as_array(np.array([1.9, -1.9]), "int32").tolist() == [1, -1]
    assert as_array(np.array([300]), "uint8").tolist() == [44]
    with pytest.raises(EncodeError, match=r"expected string values, got an array of float64"):
        as_array(np.zeros(1), "string")
    with pytest.raises(EncodeError, match=r"expected int32 values, got an array of object"):
        as_array(np.array(["a"], object), "int32")


@pytest.mark.skipif(not HAS_ML_DTYPES, reason="needs ml_dtypes")
def test_narrow_types_take_python_values_that_fit():
    assert as_array([1.5, 2], "bfloat16").astype(float).tolist() == [1.5, 2]
    assert as_array([-8, 7], "int4").astype(int).tolist() == [-8, 7]
    assert as_array([15], "uint4").astype(int).tolist() == [15]
    for value, dtype in [(8, "int4"), (-1, "uint4"), (1.5, "int4"), (4, "uint2")]:
        with pytest.raises(EncodeError, match=r"expected (\w+ )?values"):
            as_array(value, dtype)


def test_objects_with_an_array_protocol_are_arrays():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 2))

    assert as_array(Frame()).dtype == np.float64


def test_long_values_are_shortened_in_errors():
    with pytest.raises(EncodeError) as caught:
        as_array([300] * 1000, "uint8")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("values", [["a", "\ud800"], np.array(["a", "\udcff"], object), np.array(["a", "\udcff"])])
def test_text_that_utf8_cannot_hold_is_refused(values):
    with pytest.raises(EncodeError, match=r"expected text that UTF-8 can encode, got '\\ud[8c].*' at element 1: "):
        as_array(values)


@pytest.mark.parametrize("content", [False, True], ids=["typed", "content"])
def test_text_that_utf8_cannot_hold_is_refused_at_the_latest_when_written(content):
    array = np.array(["a", "\ud800"], object)
    with pytest.raises(EncodeError, match=r"expected text that UTF-8 can encode, got .* at element 1: "):
        tensors.strings_content(array) if content else tensors.write(array)
