"""JSON values to tensors: the values of each dtype, shapes, both forms, and the order of errors."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tfs_client import Signature, TensorSpec
from tfs_client._codec.dtypes import BY_NAME
from tfs_client.errors import CallError
from tfs_client.server.rest import predict_requests
from tfs_client.server.rest.example_requests import examples_request
from tfs_client.server.rest.json_values import array_of, leaves, packed

ONE = {"x": "float"}
TWO = {"a": "int32", "b": "string"}


def tensors(text, inputs):
    data = text if isinstance(text, bytes) else text.encode()
    signature = Signature({name: TensorSpec(BY_NAME[dtype]) for name, dtype in inputs.items()}, {})
    return predict_requests.tensors_of(predict_requests.read_body(data), signature)


def refused(call, *args):
    with pytest.raises(CallError) as caught:
        call(*args)
    return caught.value.code.name, caught.value.details


def column(value, dtype):
    """A value in columnar form."""
    return tensors(f'{{"inputs": {value}}}', {"x": dtype})["x"]


# --- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "text", "values"),
    [
        ("float", "[1, 2.5, 1e40, -1e40, 1e-60, NaN, 16777217]", [1, 2.5, np.inf, -np.inf, 0, np.nan, 16777216]),
        ("double", "[1, 0.1, 9007199254740993, Infinity]", [1, 0.1, 9007199254740992, np.inf]),
        ("int32", "[-2147483648, 2147483647, -0]", [-(1 << 31), (1 << 31) - 1, 0]),
        ("int16", "[40000, -40000]", [40000 - 65536, 65536 - 40000]),
        ("int8", "[300, -2147483648]", [44, 0]),
        ("uint8", "[255, 256, -1]", [255, 0, 255]),
        ("int64", "[9223372036854775807, -9223372036854775808]", [(1 << 63) - 1, -(1 << 63)]),
        ("uint32", "[0, 4294967295]", [0, (1 << 32) - 1]),
        ("uint64", "[0, 18446744073709551615]", [0, (1 << 64) - 1]),
        ("bool", "[true, false]", [True, False]),
        ("string", '["a", "\\u00e4", {"b64": "AP8="}, "NaN"]', [b"a", "\u00e4".encode(), b"\0\xff", b"NaN"]),
    ],
)
def test_values_that_a_dtype_accepts(dtype, text, values):
    array = column(text, dtype)
    assert array.dtype == BY_NAME[dtype].dtype
    np.testing.assert_array_equal(array, np.array(values, array.dtype))


@pytest.mark.parametrize(
    ("dtype", "text", "kind"),
    [
        ("float", "true", "True"),
        ("float", '"1"', "String"),
        ("float", '"NaN"', "String"),
        ("float", "null", "Null"),
        ("float", '{"b64": "YQ=="}', "Object"),
        ("int32", "1.0", "Number"),
        ("int32", "2147483648", "Number"),
        ("int8", "2147483648", "Number"),
        ("uint8", "4294967295", "Number"),
        ("int64", "9223372036854775808", "Number"),
        ("int64", "1000.0", "Number"),
        ("int64", "false", "False"),
        ("uint32", "-1", "Number"),
        ("uint32", "4294967296", "Number"),
        ("uint64", "-1", "Number"),
        ("uint64", "18446744073709551616", "Number"),
        ("bool", "1", "Number"),
        ("bool", '"true"', "String"),
        ("string", "1", "Number"),
        ("string", "null", "Null"),
    ],
)
def test_values_that_a_dtype_refuses(dtype, text, kind):
    shown = {"1000.0": "1000.0", "18446744073709551616": "18446744073709552000.0"}.get(text, text)
    if kind == "Object":
        shown = '{\n    "b64": "YQ=="\n}'
    want = f"JSON Value: {shown} Type: {kind} is not of expected type: {dtype}"
    assert refused(column, f"[[{text}]]", dtype) == ("INVALID_ARGUMENT", want)
    wrapped = f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {want}"
    if kind != "Object":
        assert refused(tensors, f'{{"instances": [{text}]}}', {"x": dtype}) == ("INVALID_ARGUMENT", wrapped)


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "uint16", "complex64", "qint8"])
def test_dtypes_without_json_values_are_refused(dtype):
    want = f"Conversion of JSON Value: 1 to type: {dtype}"
    assert refused(column, "[1]", dtype) == ("UNIMPLEMENTED", want)
    assert refused(tensors, '{"instances": [1]}', {"x": dtype}) == (
        "INVALID_ARGUMENT",
        f"Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {want}",
    )


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YQ..", b"a"),
        ("YWI=", b"ab"),
        ("YWI", b"ab"),
        ("YWJj", b"abc"),
        (" Y W\\tJ\\nj ", b"abc"),
        ("+/+/", base64.b64decode("+/+/")),
        ("Y", None),
        ("YQ=", None),
        ("YWJj=", None),
        ("YWI==", None),
        ("-_-_", None),
        ("Y\\u00e4==", None),
        ("YQ==YQ==", None),
    ],
)
def test_base64(text, data):
    value = f'[{{"b64": "{text}"}}]'
    if data is None:
        assert refused(column, value, "string") == ("INVALID_ARGUMENT", "Unable to base64 decode")
    else:
        assert column(value, "string").tolist() == [data]


@pytest.mark.parametrize("value", ['{"b64": 1}', '{"b64": "YQ==", "x": 1}', "{}", '{"B64": "YQ=="}'])
def test_other_objects_are_not_accepted_as_strings(value):
    code, text = refused(column, f"[{value}]", "string")
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("JSON Value: {")
    assert text.endswith("} not formatted correctly for base64 data")


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape"),
    [("1", ()), ("[]", (0,)), ("[[], []]", (2, 0)), ("[[1], [2]]", (2, 1)), ("[[[1, 2]]]", (1, 1, 2))],
)
def test_the_shape_comes_from_the_first_elements(text, shape):
    assert column(text, "float").shape == shape


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("[[1], [1, 2]]", "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("[[], [1]]", "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        ("[1, [2]]", "Encountered list at unexpected level: 1 expected < 1"),
        ("[[1], 2]", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("[[[1]], [2]]", "JSON Value: 2 found at incorrect level: 3 in the JSON DOM. Expected at level: 3"),
        ("[[1, 2], [3, [4]]]", "Encountered list at unexpected level: 2 expected < 2"),
        ('[["x"], [1, 2]]', 'JSON Value: "x" Type: String is not of expected type: float'),
    ],
)
def test_values_of_unequal_shapes_are_refused(text, want):
    assert refused(column, text, "float") == ("INVALID_ARGUMENT", want)


def test_tensors_of_more_dimensions_than_numpy_has():
    code, text = refused(column, "[" * 5000 + "1" + "]" * 5000, "float")
    assert (code, text) == ("INVALID_ARGUMENT", "tensor parsing error: x")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float", [[1, 2.5], [float("nan"), 3]]),
        ("double", 1),
        ("int32", []),
        ("uint8", [[[300]], [[-1]]]),
        ("uint64", [(1 << 64) - 1, 0]),
        ("bool", [[True], [False]]),
        ("string", [["a", "b"]]),
    ],
)
def test_both_ways_of_reading_give_the_same(dtype, value):
    row = BY_NAME[dtype]
    shape, flat = leaves(value, row)
    slow, fast = packed("x", flat, shape, row), array_of(value, row)
    assert fast.dtype == slow.dtype
    np.testing.assert_array_equal(fast, slow)
    assert fast.shape == slow.shape


# --- row form --------------------------------------------------------------------------------------------------------


def test_instances_are_stacked():
    found = tensors('{"instances": [{"a": [1, 2], "b": "x"}, {"b": "y", "a": [3, 4]}]}', TWO)
    assert found["a"].tolist() == [[1, 2], [3, 4]]
    assert found["b"].tolist() == [b"x", b"y"]
    assert tensors('{"instances": [{"x": 1}, {"x": 2}]}', ONE)["x"].tolist() == [1, 2]
    assert tensors('{"instances": [[], []]}', ONE)["x"].shape == (2, 0)


ROW_ERRORS = {
    '{"instances": 1}': (ONE, "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
    '{"instances": []}': (ONE, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
    '{"instances": [1, 2]}': (
        TWO,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    '{"instances": [{"a": 1, "b": "x"}, {"a": 1, "c": 2}]}': (
        TWO,
        "Failed to process element: 1 key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have "
        "named input: c",
    ),
    '{"instances": [{"b": "x"}]}': (
        TWO,
        'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "b": "x"\n} keys must be equal '
        "to: a,b",
    ),
    '{"instances": [{"x": 1}, 2]}': (ONE, "Expecting object but got list at item 1 of input list"),
    '{"instances": [1, {"x": 2}]}': (ONE, "Expecting value/list but got object at item 1 of input list"),
    '{"instances": [[1, 2], [3]]}': (
        ONE,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: "
        "1",
    ),
    '{"instances": [[1, 2], [[3], [4]]]}': (
        ONE,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2] but got: [2,1]",
    ),
    '{"instances": [{"a": 1, "b": 5}]}': (
        TWO,
        "Failed to process element: 0 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 5 Type: Number "
        "is not of expected type: string",
    ),
    # The faults of an instance come in the order of its keys, and before those of the next instance.
    '{"instances": [{"b": 5, "a": "x"}, 3]}': (
        TWO,
        "Failed to process element: 0 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 5 Type: Number "
        "is not of expected type: string",
    ),
    '{"instances": [{"b64": "YQ=="}]}': (
        {"x": "float", "y": "float"},
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: {\n    \"b64\": "
        '"YQ=="\n} Type: Object is not of expected type: float',
    ),
}


@pytest.mark.parametrize("text", ROW_ERRORS)
def test_errors_in_instances(text):
    inputs, want = ROW_ERRORS[text]
    assert refused(tensors, text, inputs) == ("INVALID_ARGUMENT", want)


def test_a_duplicate_key_in_an_instance_is_read_twice():
    # The values are appended, and of too many the first are taken.
    assert tensors('{"instances": [{"x": 1, "x": 2}, {"x": 3}]}', ONE)["x"].tolist() == [1, 2]
    _, text = refused(tensors, '{"instances": [{"x": 1, "x": "a"}]}', ONE)
    assert 'JSON Value: "a" Type: String' in text


def test_base64_takes_precedence_over_an_input_named_b64():
    assert tensors('{"instances": [{"b64": "YQ=="}]}', {"b64": "string"})["b64"].tolist() == [b"a"]
    assert tensors('{"inputs": {"b64": "YQ=="}}', {"b64": "string"})["b64"].tolist() == b"a"


# --- columnar form ---------------------------------------------------------------------------------------------------


def test_columns_have_independent_shapes_and_other_names_are_ignored():
    found = tensors('{"inputs": {"a": 1, "b": [["x"], ["y"]], "more": null}}', TWO)
    assert found["a"].tolist() == 1
    assert found["b"].tolist() == [[b"x"], [b"y"]]
    assert set(found) == {"a", "b"}


@pytest.mark.parametrize("value", ["[1]", "1", '{"b64": "YQ=="}'])
def test_a_plain_value_is_for_one_input(value):
    want = (
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
    )
    assert refused(tensors, f'{{"inputs": {value}}}', TWO) == ("INVALID_ARGUMENT", want)


def test_every_input_is_required():
    assert refused(tensors, '{"inputs": {"a": 1}}', TWO)[1] == "Missing named input: b in 'inputs' object."


def test_the_first_of_duplicate_inputs_wins():
    assert tensors('{"inputs": {"a": 1, "b": "x", "a": 2}}', TWO)["a"].tolist() == 1
    assert tensors('{"inputs": [1], "inputs": [2]}', ONE)["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": [1]}',
            'JSON Value: {\n    "inputs": 1,\n    "instances": [1]\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
    ],
)
def test_exactly_one_of_the_two_keys_is_required(text, want):
    assert refused(tensors, text, ONE) == ("INVALID_ARGUMENT", want)


def test_the_root_must_be_an_object():
    assert refused(tensors, "[1, 2]", ONE) == ("INVALID_ARGUMENT", "JSON Value: [1, 2] Is not object")
    assert refused(tensors, "[1", ONE)[1] == (
        "JSON Parse error: Missing a comma or ']' after an array element. at offset: 2"
    )


# --- examples --------------------------------------------------------------------------------------------------------


def examples(text, method="classify"):
    return examples_request(predict_requests.read_body(text.encode()), method)


@pytest.mark.parametrize("method", ["classify", "regress"])
@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("{}", "JSON Value: {} When method is METHOD, key 'examples' is expected and was not found"),
        ('{"examples": 1}', "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ('{"examples": [1.5]}', "Example must be JSON object but got JSON Number"),
        ('{"context": null}', "Example must be JSON object but got JSON Null"),
        ('{"examples": [{"f": [1, 2.0]}]}', "Unexpected element type in feature: f expecting type: int64"),
        ('{"examples": [{"f": [2.0, 1]}]}', "Unexpected element type in feature: f expecting type: float"),
        ('{"examples": [{"f": ["a", true]}]}', "Unexpected element type in feature: f expecting type: bytes"),
        ('{"examples": [{"f": null}]}', "Feature: f has element with unexpected JSON type: Null"),
        ('{"examples": [{"f": [[]]}]}', "Feature: f has element with unexpected JSON type: Array"),
        ('{"examples": [{"f": {"x": 1}}]}', "Feature: f has element with unexpected JSON type: Object"),
        ('{"examples": [{"f": 9223372036854775808}]}', "Feature: f has uint64_t element. Only int64_t is supported."),
        ('{"examples": [{"f": {"b64": "?"}}]}', "Unable to base64 decode"),
        # The order: signature_name, context, examples.
        ('{"signature_name": 1, "context": 1}', None),
        ('{"context": 1, "examples": 1}', "Example must be JSON object but got JSON Number"),
    ],
)
def test_errors_in_examples(text, want, method):
    code, details = refused(examples, text, method)
    assert code == "INVALID_ARGUMENT"
    if want is None:
        assert details.endswith("not formatted correctly. 'signature_name' key must be a string value.")
    else:
        assert details == want.replace("METHOD", method)


def features(data):
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    found = Example.FromString(data).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in found.items()}
    return {name: list(getattr(found[name], kind).value) if kind else None for name, kind in kinds.items()}


def test_the_values_determine_the_kind_of_a_feature():
    text = (
        '{"examples": [{"i": [1, true, -9223372036854775808], "f": [1.5, 1e300], "e": [],'
        ' "s": ["\\u00e4", {"b64": "AA=="}], "one": 18446744073709551616, "twice": 1, "twice": "last"}, {}]}'
    )
    first, second = examples(text).examples
    assert features(first) == {
        "i": [1, 1, -(1 << 63)],
        "f": [1.5, np.inf],
        "e": None,
        "s": ["\u00e4".encode(), b"\0"],
        "one": [2.0**64],
        "twice": [b"last"],
    }
    assert features(second) == {}


def test_the_context_comes_before_each_example():
    request = examples('{"context": {"c": 1}, "examples": [{"f": 2}, {}]}')
    assert [features(data) for data in request.joined] == [{"c": [1], "f": [2]}, {"c": [1]}]
    assert examples('{"context": {}, "examples": [{}]}').context is not None
    assert examples('{"examples": [{}]}').context is None
