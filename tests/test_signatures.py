"""TensorSpec and Signature: normalising, binding a bare value, and error texts."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from tfs_client import ConfigError, EncodeError, Signature, SignatureError, Signatures, TensorSpec
from tfs_client.signatures import shape_difference

VECTOR = TensorSpec("float32", (None,))


# --- TensorSpec ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float", np.float32, np.dtype("float32"), np.dtype(">f4"), 1, "f4"])
def test_all_names_of_a_dtype_are_one(dtype):
    assert TensorSpec(dtype, (1,)) == TensorSpec("float32", (1,))
    assert TensorSpec(dtype).dtype == np.dtype("float32")


@pytest.mark.parametrize("dtype", ["float64", "double", np.float64, np.dtype("float64"), np.dtype(float), 2, "f8"])
def test_double_stays_double(dtype):
    assert TensorSpec(dtype).dtype == np.dtype("float64")
    assert dataclasses.replace(TensorSpec(dtype), shape=()).dtype == np.dtype("float64")


@pytest.mark.parametrize("name", [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128", "string", "bfloat16", "qint8",
])  # fmt: skip
def test_a_spec_can_be_made_from_another_specs_dtype(name):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    spec = TensorSpec(name, (None, 2), tensor_name="t:0")
    assert TensorSpec(spec.dtype, spec.shape) == spec
    assert TensorSpec(spec.dtype).row is spec.row
    assert spec.dtype_name == name


@pytest.mark.parametrize("dtype", ["string", str, bytes, object, np.dtype("S3"), np.dtype("U3"), 7])
def test_all_kinds_of_text_are_string(dtype):
    assert TensorSpec(dtype) == TensorSpec("string")
    assert TensorSpec(dtype).dtype == np.dtype(object)
    assert TensorSpec(dtype).dtype_name == "string"


@pytest.mark.parametrize(
    ("shape", "normal"),
    [
        (None, None),
        ((), ()),
        ([None, 3], (None, 3)),
        ((-1, 3), (None, 3)),
        ((np.int64(2),), (2,)),
        (iter([1, 2]), (1, 2)),
        ((0,), (0,)),
    ],
)
def test_shapes_become_tuples_with_none_for_unknown_sizes(shape, normal):
    assert TensorSpec("float32", shape).shape == normal


@pytest.mark.parametrize("shape", [3, "12", ("a",), (2.5,), (-2,), (1, None, -7), {"a": 1}, ((1,),)])
def test_invalid_shapes_are_refused(shape):
    with pytest.raises(ConfigError, match="a shape"):
        TensorSpec("float32", shape)


@pytest.mark.parametrize("dtype", ["nothing", "datetime64[s]", 999, [1]])
def test_dtypes_that_tensors_do_not_support_are_refused(dtype):
    with pytest.raises(EncodeError):
        TensorSpec(dtype)


def test_equality_looks_at_dtype_and_shape_but_not_at_the_tensor_name():
    assert TensorSpec("float32", (1,), tensor_name="a:0") == TensorSpec("float32", (1,), tensor_name="b:0")
    assert TensorSpec("float32", (1,)) != TensorSpec("float32", (2,))
    assert TensorSpec("float32", (1,)) != TensorSpec("float32", (None,))
    assert TensorSpec("float32", ()) != TensorSpec("float32", None)
    assert TensorSpec("float32", (1,)) != TensorSpec("float64", (1,))
    assert hash(TensorSpec("float32", [1])) == hash(TensorSpec("float", (1,)))


@pytest.mark.parametrize(
    ("spec", "shape", "fits"),
    [
        (TensorSpec("float32"), (4, 5), True),
        (TensorSpec("float32", ()), (), True),
        (TensorSpec("float32", ()), (1,), False),
        (TensorSpec("float32", (None, 3)), (9, 3), True),
        (TensorSpec("float32", (None, 3)), (9, 4), False),
        (TensorSpec("float32", (None, 3)), (3,), False),
        (TensorSpec("float32", (None,)), (0,), True),
    ],
)
def test_accepts_compares_the_known_sizes(spec, shape, fits):
    assert spec.accepts(shape) is fits


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TensorSpec("float32", (None, 224, 3)), "float32 (?, 224, 3)"),
        (TensorSpec("string", (None,)), "string (?,)"),
        (TensorSpec("int64", ()), "int64 scalar"),
        (TensorSpec("half"), "float16 any shape"),
        (TensorSpec("qint8", (2,)), "qint8 (2,)"),
        (TensorSpec("resource", ()), "resource scalar"),
        (TensorSpec("bool", (0,)), "bool (0,)"),
    ],
)
def test_a_spec_prints_readably(spec, text):
    assert str(spec) == text


# --- Signature.bind --------------------------------------------------------------------------------------------------


def bound(dtype, values, shape=None):
    return Signature({"x": TensorSpec(dtype, shape)}, {}).bind(values)["x"]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("float32", 1, np.float32(1)),
        ("float32", [1, 2.5], np.float32([1, 2.5])),
        ("float64", [0.1], np.float64([0.1])),
        ("float16", [0.5], np.float16([0.5])),
        ("uint8", [0, 255], np.uint8([0, 255])),
        ("int64", 1 << 40, np.int64(1 << 40)),
        ("bool", [True], np.array([True])),
        ("complex64", [1, 2j], np.complex64([1, 2j])),
        ("int32", [], np.int32([])),
    ],
)
def test_python_values_get_the_dtype_of_the_signature(dtype, values, expected):
    array = bound(dtype, values)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("values", ["ä", b"ab", ["a", b"b"], np.array(["a"]), np.array([b"a"]), np.str_("a")])
def test_text_goes_to_string_inputs(values):
    assert bound("string", values).dtype.kind in "OSU"


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int32", 1.5),
        ("int32", [1.0]),
        ("uint8", [256]),
        ("uint8", [-1]),
        ("bool", [1]),
        ("float32", "text"),
        ("string", [1]),
        ("float32", 1j),
    ],
)
def test_python_values_that_do_not_fit_are_refused_with_the_inputs_name(dtype, values):
    with pytest.raises(SignatureError, match=f"input 'x' expects {dtype} any shape: expected"):
        bound(dtype, values)


@pytest.mark.parametrize("values", [[[1], [1, 2]], [None], {1, 2}, np.array([None]), np.array(["2020"], "M8[D]")])
@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_a_value_that_fits_no_dtype_is_an_encode_error_with_the_inputs_name(dtype, values):
    with pytest.raises(EncodeError, match=r"^input 'x': "):
        bound(dtype, values)


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("float16", "float32"),
        ("float32", "float64"),
        ("int8", "int64"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("bool", "float32"),
        ("float32", "complex64"),
        (">f4", "float32"),
    ],
)
def test_arrays_are_cast_where_nothing_can_be_lost(have, want):
    array = np.ones((2, 2), have)
    cast = bound(want, array)
    assert cast.tolist() == array.tolist()
    assert cast.dtype.newbyteorder("=") == np.dtype(want)


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("float64", "float32"),
        ("int32", "float32"),
        ("int64", "int32"),
        ("int8", "uint8"),
        ("float32", "int32"),
        ("complex64", "float32"),
        ("float32", "bool"),
    ],
)
def test_lossy_casts_are_refused_and_the_error_says_how_to_request_them(have, want):
    with pytest.raises(SignatureError, match="casting could lose values") as caught:
        bound(want, np.ones((2, 2), have), (None, 2))
    text = f"input 'x' expects {want} (?, 2), got {have} (2, 2); casting could lose values: "
    option = "" if (have, want) in (("complex64", "float32"), ("float32", "bool")) else ", or with cast=True"
    assert str(caught.value) == f"{text}cast explicitly with array.astype({want!r}){option}"


def test_a_numpy_scalar_is_an_array_too():
    assert bound("float32", np.float16(1)).dtype == np.float32
    with pytest.raises(SignatureError, match="lose"):
        bound("float32", np.float64(1))


def test_no_error_suggests_a_cast_to_text():
    with pytest.raises(SignatureError) as caught:
        TensorSpec("string").cast([1, 2], "x")
    assert "cast" not in str(caught.value)


def test_text_arrays_and_numbers_do_not_mix():
    with pytest.raises(SignatureError, match="input 'x' expects float32"):
        bound("float32", np.array(["a"]))
    with pytest.raises(SignatureError, match="input 'x' expects string"):
        bound("string", np.float32([1]))


def test_an_array_of_the_right_dtype_is_not_copied():
    array = np.float32([1])
    assert bound("float32", array) is array


def test_shapes_are_left_to_the_server():
    assert bound("float32", [1.0], (5, 5)).shape == (1,)


def test_the_only_required_input_is_bound():
    signature = Signature({"a": VECTOR, "b": VECTOR}, {}, optional=frozenset({"b"}))
    assert list(signature.bind([1.0])) == ["a"]


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"b": VECTOR, "a": TensorSpec("string")}, "a: string any shape, b: float32 (?,)"),
        ({}, "none"),
    ],
)
def test_without_exactly_one_required_input_the_names_are_listed(inputs, names):
    with pytest.raises(SignatureError) as caught:
        Signature(inputs, {}).bind([1.0])
    assert str(caught.value) == f"expected inputs by name, got one list; the inputs are: {names}"


# --- Signature and Signatures ----------------------------------------------------------------------------------------


def test_a_signature_cannot_be_changed():
    inputs = {"x": VECTOR}
    signature = Signature(inputs, {})
    inputs["y"] = VECTOR
    assert set(signature.inputs) == {"x"}
    with pytest.raises(TypeError):
        signature.inputs["y"] = VECTOR
    with pytest.raises(dataclasses.FrozenInstanceError):
        signature.method_name = "other"


def test_signatures_compare_and_print():
    signature = Signature({"x": VECTOR}, {"y": TensorSpec("int64", ())})
    assert signature == Signature({"x": VECTOR}, {"y": TensorSpec("int64", ())})
    assert signature != Signature({"x": VECTOR}, {"y": TensorSpec("int64", (1,))})
    assert str(signature) == "x: float32 (?,) -> y: int64 scalar"
    assert str(Signature({}, {})) == "nothing -> nothing"


def test_all_signatures_print_as_a_table():
    signatures = Signatures(
        {"b": Signature({"x": VECTOR}, {"y": VECTOR}), "a": Signature({}, {"z": TensorSpec("string")}, "")},
        model="m",
        version=3,
    )
    assert str(signatures).splitlines() == [
        "m version 3",
        "  a  [no method]",
        "    out z: string any shape",
        "  b  [tensorflow/serving/predict]",
        "    in  x: float32 (?,)",
        "    out y: float32 (?,)",
    ]
    assert set(signatures) == {"a", "b"}
    assert len(signatures) == 2
    assert "version=3" in repr(signatures)


def test_a_missing_signature_is_an_error_that_lists_the_signatures():
    signatures = Signatures({"b": Signature({}, {}), "a": Signature({}, {})}, model="m", version=1)
    assert signatures.named("a") is signatures["a"]
    with pytest.raises(SignatureError, match="model 'm' has no signature 'c'; its signatures: a, b"):
        signatures.named("c")
    with pytest.raises(SignatureError, match="its signatures: none"):
        Signatures({}, model="m", version=None).named("c")


def test_signatures_can_be_pickled_copied_and_hashed():
    signature = Signature({"x": TensorSpec("float32", (None,))}, {"y": TensorSpec("string")}, optional=frozenset({"x"}))
    for same in (pickle.loads(pickle.dumps(signature)), copy.deepcopy(signature)):
        assert same == signature
        assert hash(same) == hash(signature)
        assert same.inputs["x"].row is signature.inputs["x"].row
    found = Signatures({"serving_default": signature}, model="m", version=1)
    assert dict(copy.deepcopy(found)) == dict(found)
    assert "mappingproxy" not in repr(found)


@pytest.mark.parametrize(
    ("shape", "got", "difference"),
    [
        ((None, 3), (1, 3), ""),
        ((None, 3), (1, 5), "expected size 3 on axis 1, got 5"),
        ((2, None, 3), (4, 9, 5), "expected size 2 on axis 0, got 4, and size 3 on axis 2, got 5"),
        ((None, 224, 224, 3), (224, 224, 3), "expected 4 axes, got 3"),
        ((), (1,), "expected 0 axes, got 1"),
        (None, (7, 7), ""),
    ],
)
def test_shapes_are_compared_axis_by_axis(shape, got, difference):
    assert shape_difference(shape, got) == difference


def test_a_wrong_dtype_and_a_wrong_shape_are_both_reported():
    signature = Signature({"x": TensorSpec("float32", (None, 3))}, {})
    difference = signature.mismatch({"x": np.zeros((1, 5), np.int32)})
    assert difference == (
        "'x' expects float32 (?, 3), got int32 (1, 5): wrong dtype, and expected size 3 on axis 1, got 5; "
        "pass cast=True to cast it"
    )
    assert "axis" not in signature.mismatch({"x": np.zeros((1, 3), np.int32)})


def test_strings_are_called_strings():
    with pytest.raises(SignatureError, match=r"input 'x' expects float32 \(\?,\), got string \(2,\)"):
        TensorSpec("float32", (None,)).cast(np.array(["a", "b"], object), "x")
