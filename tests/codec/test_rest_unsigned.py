"""REST replies read without a signature: unambiguous ones are read, ambiguous ones refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec.rest_unsigned import UNNAMED, read_reply
from tfs_client.errors import DecodeError


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ("[1, 2]", "int64", [1, 2]),
        ("[[1], [-9223372036854775808]]", "int64", [[1], [-(2**63)]]),
        ("[0, 18446744073709551615]", "uint64", [0, 2**64 - 1]),
        ("[0.1, 2.5]", "float64", [0.1, 2.5]),
        ("[1, 2.5]", "float64", [1.0, 2.5]),
        ("[Infinity, -Infinity, 1]", "float64", [np.inf, -np.inf, 1]),
        ("[true, false]", "bool", [True, False]),
        ('["a", "é"]', "O", [b"a", "é".encode()]),
        ('[{"b64": "/wA="}, "x"]', "O", [b"\xff\x00", b"x"]),
        ('[{"b64": "/wA="}]', "O", [b"\xff\x00"]),
    ],
)
@pytest.mark.parametrize("key", ["predictions", "outputs"])
def test_a_single_output_gets_the_dtype_that_its_values_show(values, dtype, expected, key):
    ((alias, array),) = read_reply(f'{{"{key}": {values}}}'.encode()).items()
    assert (alias, array.dtype, array.tolist()) == (UNNAMED, np.dtype(dtype), expected)
    assert not array.flags.writeable


def test_nan_is_a_float():
    (array,) = read_reply(b'{"predictions": [NaN, 1]}').values()
    assert array.dtype == np.float64
    assert np.isnan(array[0])


def test_rows_with_names_are_several_outputs():
    outputs = read_reply(b'{"predictions": [{"class": "cat", "score": 0.5}, {"score": 1, "class": "dog"}]}')
    assert {alias: array.tolist() for alias, array in outputs.items()} == {"class": [b"cat", b"dog"], "score": [0.5, 1]}


def test_columns_with_names_are_several_outputs_of_any_shape():
    outputs = read_reply(b'{"outputs": {"a": [[1, 2]], "b": 5, "c": {"b64": "AA=="}}}')
    assert {alias: (array.shape, array.tolist()) for alias, array in outputs.items()} == {
        "a": ((1, 2), [[1, 2]]),
        "b": ((), 5),
        "c": ((), b"\0"),
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"predictions": [[1], [1, 2]]}', "ragged ones; .*signatures="),
        ('{"predictions": [[], [1]]}', "ragged ones; .*signatures="),
        ('{"predictions": []}', "an empty list, which has no dtype; .*signatures="),
        ('{"outputs": {"a": []}}', "output 'a': expected values, got an empty list"),
        ('{"predictions": [1.0, null]}', "all texts, got NoneType, float; .*signatures="),
        ('{"predictions": [1, true]}', "got bool, int"),
        ('{"predictions": [1, "a"]}', "got int, str"),
        ('{"predictions": [9007199254740993, 0.5]}', "floats and the integer 9007199254740993"),
        ('{"predictions": [-1, 18446744073709551615]}', "of dtype int64, got -1 to 18446744073709551615"),
        ('{"predictions": [{"a": 1}, {"b": 1}]}', "the same outputs in every prediction"),
        ('{"predictions": [{"a": 1}, 1]}', "the same outputs in every prediction"),
        ('{"predictions": [1, {"a": 1}]}', "the same outputs in every prediction"),
        ('{"predictions": [{"a": {"deep": 1}}]}', "got dict"),
        ('{"predictions": [{}]}', "expected outputs"),
        ('{"outputs": {}}', "expected outputs"),
        ('{"results": [1]}', "expected an object with 'predictions' or 'outputs'"),
        ("[1]", "expected an object with 'predictions' or 'outputs'"),
        ("<html>", "expected JSON"),
    ],
)
def test_ambiguous_replies_are_refused(body, text):
    with pytest.raises(DecodeError, match=text):
        read_reply(body.encode())


@settings(deadline=None)
@given(
    st.sampled_from(["int64", "uint64", "float32", "float64", "bool"]),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.data(),
)
def test_arrays_as_json_come_back_exactly(dtype, shape, data):
    size = int(np.prod(shape))
    if dtype.startswith("float"):
        width = int(dtype[5:])
        elements = st.floats(allow_nan=False, allow_infinity=False, width=width)
    elif dtype == "bool":
        elements = st.booleans()
    else:
        elements = st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
    array = np.array(data.draw(st.lists(elements, min_size=size, max_size=size)), dtype).reshape(shape)
    (got,) = read_reply(json.dumps({"predictions": array.tolist()}).encode()).values()
    assert got.shape == array.shape
    assert got.astype(dtype).tolist() == array.tolist()
    assert got.tolist() == array.tolist()
