"""Tensors to JSON text: the format of numbers, and the white space of both forms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfs_client.errors import CallError
from tfs_client.server.rest import replies
from tfs_client.server.rest.json_tokens import decimals, tokens

# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3.0"),
        (0, "0.0"),
        (-0.0, "-0.0"),
        (9000000, "9e+06"),
        (1e6, "1e+06"),
        (100000, "100000.0"),
        (16777216, "16777216.0"),
        (1234567, "1234567.0"),
        (1 / 3, "0.333333343"),
        (123456.7, "123456.703"),
        (0.1, "0.1"),
        (3e-5, "3e-05"),
        (0.0003, "0.0003"),
        (555557.5, "555557.5"),
        (np.finfo(np.float32).max, "3.40282347e+38"),
        (np.finfo(np.float32).tiny, "1.17549435e-38"),
        (1e-45, "1.4013e-45"),
        (np.nan, "NaN"),
        (np.inf, "Infinity"),
        (-np.inf, "-Infinity"),
    ],
)
def test_floats(value, text):
    assert decimals(np.float32([value])) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.33333333333333331"),
        (0.1, "0.1"),
        (123456.7, "123456.7"),
        (1e22, "1e+22"),
        (2.0**53, "9007199254740992.0"),
        (1e308, "1e+308"),
        (5e-324, "4.94066e-324"),
        (np.nan, "NaN"),
    ],
)
def test_doubles(value, text):
    assert decimals(np.float64([value])) == [text]


def slowly(value, dtype, digits):
    """The rule, value by value."""
    text = f"{float(value):g}"
    with np.errstate(over="ignore"):
        if dtype(float(text)) != value:
            text = f"{float(value):.{digits}g}"
    return text if "." in text or "e" in text else text + ".0"


@pytest.mark.parametrize(
    ("dtype", "bits", "digits"), [(np.float32, np.uint32, 9), (np.float64, np.uint64, 17)], ids=["float", "double"]
)
def test_numbers_of_every_size_are_printed_by_the_rule(dtype, bits, digits):
    rng = np.random.default_rng(5)
    anything = rng.integers(0, np.iinfo(bits).max, 2000, bits, endpoint=True).view(dtype)
    short = np.array([float(f"{value:.6g}") for value in rng.random(2000) * 10.0 ** rng.integers(-37, 38, 2000)], dtype)
    whole = rng.integers(0, 1 << 40, 1000).astype(dtype)
    for values in (anything[np.isfinite(anything)], short, whole, dtype(10.0) ** np.arange(-37, 38, dtype=dtype)):
        assert decimals(values) == [slowly(value, dtype, digits) for value in values]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integers_have_all_their_digits(dtype):
    info = np.iinfo(dtype)
    assert tokens(np.array([info.min, 0, info.max], dtype)) == [str(info.min), "0", str(info.max)]


def test_booleans_and_strings():
    assert tokens(np.array([True, False])) == ["true", "false"]
    array = np.array([b'"\x01', "\u00e4", b"/\x7f"], object)
    assert tokens(array) == ['"\\"\\u0001"', '"\u00e4"', '"/\x7f"']


@pytest.mark.parametrize("dtype", ["float16", "uint16", "complex64", "complex128"])
@pytest.mark.parametrize("form", ["row", "columnar"])
def test_dtypes_without_json_values_are_refused(dtype, form):
    with pytest.raises(CallError, match="Failed to write JSON value for tensor type: "):
        replies.predictions({"y": np.zeros(2, dtype)}, form)


def test_strings_that_are_not_utf8_are_printed_unchanged():
    assert b'["\xff"]' in replies.predictions({"y": np.array([[b"\xff"]], object)}, "row")


# --- layout ----------------------------------------------------------------------------------------------------------

FLOATS = np.float32([[1, 2], [3, 4]])
WORDS = np.array([b"a", b"b"], object)

ROWS = {
    "values": ({"y": np.float32([2.5, 3, 4.5])}, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'),
    "arrays": ({"y": FLOATS}, '{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'),
    "none": ({"y": FLOATS[:0]}, '{\n    "predictions": []\n}'),
    "nothing in each": ({"y": np.zeros((2, 0))}, '{\n    "predictions": [[], []\n    ]\n}'),
    "nothing deep in each": ({"y": np.zeros((1, 2, 0))}, '{\n    "predictions": [[[], []]\n    ]\n}'),
    "names": (
        {"a": FLOATS, "b": np.int32([1, 2])},
        '{\n    "predictions": [\n        {\n            "a": [1.0, 2.0],\n            "b": 1\n        },\n        {\n'
        '            "a": [3.0, 4.0],\n            "b": 2\n        }\n    ]\n}',
    ),
    "bytes": (
        {"y_bytes": WORDS},
        '{\n    "predictions": [{\n            "b64": "YQ=="\n        }, {\n'
        '            "b64": "Yg=="\n        }\n    ]\n}',
    ),
    "bytes and names": (
        {"a": np.int32([1]), "y_bytes": WORDS[:1]},
        '{\n    "predictions": [\n        {\n            "a": 1,\n            "y_bytes": {\n'
        '                "b64": "YQ=="\n            }\n        }\n    ]\n}',
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_the_layout_of_rows(case):
    outputs, text = ROWS[case]
    assert replies.predictions(outputs, "row").decode() == text


COLUMNS = {
    "vector": ({"y": np.float32([2.5, 3])}, '{\n    "outputs": [\n        2.5,\n        3.0\n    ]\n}'),
    "scalar": ({"y": np.float32(2.5)}, '{\n    "outputs": 2.5\n}'),
    "empty": ({"y": np.zeros(0)}, '{\n    "outputs": []\n}'),
    "empty inside": ({"y": np.zeros((2, 0))}, '{\n    "outputs": [\n        [],\n        []\n    ]\n}'),
    "matrix": (
        {"y": np.int32([[1, 2]])},
        '{\n    "outputs": [\n        [\n            1,\n            2\n        ]\n    ]\n}',
    ),
    "names": (
        {"a": np.int32([1]), "b": np.int32(2)},
        '{\n    "outputs": {\n        "a": [\n            1\n        ],\n        "b": 2\n    }\n}',
    ),
    "bytes": (
        {"y_bytes": WORDS[:1]},
        '{\n    "outputs": [\n        {\n            "b64": "YQ=="\n        }\n    ]\n}',
    ),
    "one string of bytes": (
        {"y_bytes": WORDS[0:1].reshape(())},
        '{\n    "outputs": {\n        "b64": "YQ=="\n    }\n}',
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_layout_of_columns(case):
    outputs, text = COLUMNS[case]
    assert replies.predictions(outputs, "columnar").decode() == text


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.float32(1)}, "Tensor name: y has no shape information "),
        (
            {"a": np.zeros(2), "b": np.zeros(3)},
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
    ],
)
def test_rows_need_a_batch(outputs, text):
    with pytest.raises(CallError) as caught:
        replies.predictions(outputs, "row")
    assert (caught.value.code.name, caught.value.details) == ("INVALID_ARGUMENT", text)


def test_classes_and_values():
    assert replies.classes([[("car", 0.2), ("bike", 0.7)], [("", 12.0)], []]).decode() == (
        '{\n    "results": [[["car", 0.2], ["bike", 0.7]], [["", 12.0]], []\n    ]\n}'
    )
    assert replies.values([0.2, 1.0]).decode() == '{\n    "results": [0.2, 1.0]\n}'


def test_errors():
    assert replies.error('a "b"\n').decode() == '{\n    "error": "a \\"b\\"\\n"\n}'


def test_long_error_texts_are_cut_and_short_ones_are_unchanged():
    short = "\u202e\u00e4\x7f" * 1333
    assert replies.error(short).decode() == f'{{\n    "error": "{short}"\n}}'
    text = json.loads(replies.error("a" * 100_000 + "the end"))["error"]
    assert len(text) <= 4000
    assert text.startswith("aaa")
    assert text.endswith("the end")
