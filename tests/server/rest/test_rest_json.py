"""JSON text by the model server's rules: accepted texts and their values, errors and their offsets."""

from __future__ import annotations

import json
import math
import re
from random import Random

import pytest

from tfs_client.errors import CancelledError, DeadlineExceededError
from tfs_client.server.call_deadlines import time_limit
from tfs_client.server.rest import json_exact, json_lists, json_reader
from tfs_client.server.rest.json_debug import debug_text, quoted, shortest
from tfs_client.server.rest.json_exact import Malformed, read_exactly
from tfs_client.server.rest.json_types import DuplicateNames, bytes_of, members

NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture(params=["fast", "json", "exact"])
def read(request, monkeypatch):
    """The reader with and without orjson, and the exact one alone: results must not depend on it."""
    if request.param == "json":
        monkeypatch.setattr(json_reader, "orjson", None)
    elif request.param == "fast":
        pytest.importorskip("orjson")
    return read_exactly if request.param == "exact" else json_reader.read


ACCEPTED = {
    b"{}": {},
    b"[]": [],
    b" \t\r\n[ ] ": [],
    b"\xef\xbb\xbf[1]": [1],
    b"\xef\xbb\xbf\n 1": 1,
    b'{"a": [1, {"b": null}], "c": true, "d": false}': {"a": [1, {"b": None}], "c": True, "d": False},
    b"[1] and whatever follows": [1],
    b"[1]]": [1],
    b"1 2": 1,
    b"01": 0,
    b"[1]\0[": [1],
    b"[NaN, Infinity, -Infinity]": [NAN, INFINITY, -INFINITY],
    b"[Inf, -Inf, -NaN]": [INFINITY, -INFINITY, NAN],
    b"[0, -0, 7, -7]": [0, 0, 7, -7],
    b"[-0.0, 1.0, 1e3, 1E+3, 25e-1, 0.5]": [-0.0, 1.0, 1000.0, 1000.0, 2.5, 0.5],
    b"[9223372036854775807, -9223372036854775808]": [(1 << 63) - 1, -(1 << 63)],
    b"[9223372036854775808, 18446744073709551615]": [1 << 63, (1 << 64) - 1],
    b"[18446744073709551616, -9223372036854775809]": [2.0**64, -(2.0**63)],
    b"[" + b"1" * 40 + b"]": [float("1" * 40)],
    b"[1e-400, -1e-400]": [0.0, -0.0],
    b"[1.7976931348623157e308, 1e308]": [1.7976931348623157e308, 1e308],
    b"[0e400, -0.0E+999]": [0.0, -0.0],
    b"[1.5e309, -1.5e309]": [INFINITY, -INFINITY],
    b"[1" + b"0" * 308 + b"]": [1e308],
    b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]': ['"\\/\b\f\n\r\t'],
    b'["\\u0000\\u00e4\\u20AC\\ud83d\\ude00"]': ["\0\u00e4\u20ac\U0001f600"],
    '["\u00e4\u20ac\U0001f600"]'.encode(): ["\u00e4\u20ac\U0001f600"],
    b'["a:b", {"c:d": "e\\":"}]': ["a:b", {"c:d": 'e":'}],
}


def same(got, want):
    """Equal, of the same types, with the sign of zero, and NaN as itself."""
    if type(got) is not type(want):
        return False
    if isinstance(want, list):
        return len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, dict):
        return list(got) == list(want) and all(same(got[name], want[name]) for name in want)
    if isinstance(want, float):
        return math.isnan(got) if math.isnan(want) else got == want and math.copysign(1, got) == math.copysign(1, want)
    return got == want


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda text: text[:40].decode("latin-1"))
def test_texts_are_parsed(read, text):
    assert same(read(text), ACCEPTED[text])


REFUSED = {
    b"": "The document is empty",
    b" ": "The document is empty. at offset: 1",
    b"\xef\xbb\xbf ": "The document is empty. at offset: 4",
    b"\0": "The document is empty. at offset: 0",
    b" }": "The document is empty. at offset: 1",
    b"]": "The document is empty. at offset: 0",
    b",": "The document is empty. at offset: 0",
    b":": "The document is empty. at offset: 0",
    b"instances = [1]": "Invalid value. at offset: 0",
    b"x": "Invalid value. at offset: 0",
    b"+1": "Invalid value. at offset: 0",
    b".5": "Invalid value. at offset: 0",
    b"nul": "Invalid value. at offset: 3",
    b"True": "Invalid value. at offset: 0",
    b"nan": "Invalid value. at offset: 1",
    b"-x": "Invalid value. at offset: 1",
    b"-": "Invalid value. at offset: 1",
    b"Infi": "Invalid value. at offset: 4",
    b"Na": "Invalid value. at offset: 2",
    b"[": "Invalid value. at offset: 1",
    b"[1,]": "Invalid value. at offset: 3",
    b"[,1]": "Invalid value. at offset: 1",
    b"[1,": "Invalid value. at offset: 3",
    b'{"a":}': "Invalid value. at offset: 5",
    b'{"a":': "Invalid value. at offset: 5",
    b"[1 2]": "Missing a comma or ']' after an array element. at offset: 3",
    b"[01]": "Missing a comma or ']' after an array element. at offset: 2",
    b"[0x1]": "Missing a comma or ']' after an array element. at offset: 2",
    b"[1}": "Missing a comma or ']' after an array element. at offset: 2",
    b"[1": "Missing a comma or ']' after an array element. at offset: 2",
    b"[1 /* no */]": "Missing a comma or ']' after an array element. at offset: 3",
    b"[1\0]": "Missing a comma or ']' after an array element. at offset: 2",
    b"{": "Missing a name for object member. at offset: 1",
    b"{a:1}": "Missing a name for object member. at offset: 1",
    b"{'a':1}": "Missing a name for object member. at offset: 1",
    b'{"a":1,}': "Missing a name for object member. at offset: 7",
    b'{"a" 1}': "Missing a colon after a name of object member. at offset: 5",
    b'{"a"': "Missing a colon after a name of object member. at offset: 4",
    b'{"a":1 "b":2}': "Missing a comma or '}' after an object member. at offset: 7",
    b'{"a":1]': "Missing a comma or '}' after an object member. at offset: 6",
    b'["\\u12g4"]': "Incorrect hex digit after \\u escape in string. at offset: 2",
    b'["\\u12': "Incorrect hex digit after \\u escape in string. at offset: 2",
    b'["\\ud800"]': "The surrogate pair in string is invalid. at offset: 2",
    b'["a\\ud800\\u0041"]': "The surrogate pair in string is invalid. at offset: 3",
    b'["\\ud800\\n"]': "The surrogate pair in string is invalid. at offset: 2",
    b'["\\x41"]': "Invalid escape character in string. at offset: 2",
    b'["\\': "Invalid escape character in string. at offset: 2",
    b'["a\tb"]': "Invalid escape character in string. at offset: 3",
    b'["a': "Missing a closing quotation mark in string. at offset: 3",
    b'["a\0"]': "Missing a closing quotation mark in string. at offset: 3",
    b"[1e309]": "Number too big to be stored in double. at offset: 1",
    b"[0, -1e309]": "Number too big to be stored in double. at offset: 4",
    b"[1.5e310]": "Number too big to be stored in double. at offset: 1",
    b"[1e9999999999999]": "Number too big to be stored in double. at offset: 1",
    b"[1" + b"0" * 400 + b"]": "Number too big to be stored in double. at offset: 1",
    b"1.": "Miss fraction part in number. at offset: 2",
    b"1e 5": "Miss exponent in number. at offset: 2",
    b"[1.]": "Miss fraction part in number. at offset: 3",
    b"[1.e5]": "Miss fraction part in number. at offset: 3",
    b"[1e]": "Miss exponent in number. at offset: 3",
    b"[1e+]": "Miss exponent in number. at offset: 4",
    '["\u00e4", x]'.encode(): "Invalid value. at offset: 7",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40].decode("latin-1"))
def test_errors_say_what_is_wrong_and_where(read, text):
    with pytest.raises(Malformed) as caught:
        read(text)
    assert str(caught.value) == REFUSED[text]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b'"\xff\xfe"', b"\xff\xfe"),
        (b'"\xc3"', b"\xc3"),
        (b'"\xed\xa0\x80"', b"\xed\xa0\x80"),
        (b'"\\udc00"', b"\xed\xb0\x80"),
        (b'"\\ud83d\\ude00"', "\U0001f600".encode()),
        (b'"a\\u0000b"', b"a\0b"),
    ],
)
def test_a_string_keeps_its_bytes_even_if_they_are_not_utf8(read, text, data):
    assert bytes_of(read(text)) == data


def test_an_object_with_duplicate_names_has_the_first_of_each_and_lists_all(read):
    value = read(b'{"a": 1, "b": {"x": 1, "x": 2}, "a": 3}')
    assert isinstance(value, DuplicateNames)
    assert list(value) in (["a", "b"], ["b", "a"])
    assert value["a"] == 1
    assert value["b"]["x"] == 1
    assert [name for name, _ in members(value)] == ["a", "b", "a"]
    assert list(members(value["b"])) == [("x", 1), ("x", 2)]
    assert list(members({"x": 1})) == [("x", 1)]


def test_lists_may_be_nested_deeper_than_python_can_recurse(read):
    value = read(b"[" * 20_000 + b"]" * 20_000)
    depth = 0
    while value:
        (value,) = value
        depth += 1
    assert depth == 19_999


def test_a_large_list_of_numbers_is_not_read_one_by_one(monkeypatch):
    def never(*_):
        raise AssertionError("the exact reader is for what the fast ones refuse")

    monkeypatch.setattr(json_reader, "read_exactly", never)
    text = json.dumps({"instances": [[0.5] * 1000] * 100 + [[NAN] * 3, [12345678901234567890]]}).encode()
    assert len(json_reader.read(text)["instances"]) == 102
    monkeypatch.setattr(json_reader, "orjson", None)
    assert len(json_reader.read(text)["instances"]) == 102


# --- long texts, which must not keep the server from other calls ----------------------------------------------------


def refusal(read, text):
    try:
        return read(text)
    except Malformed as error:
        return str(error)


LONG = {
    "numbers": b'{"instances": [' + b"1, -2.5, 1e3, NaN, 18446744073709551616," * 50 + b"7]}",
    "rows": b"[" + b"[1, 2.5],\n [3, Infinity]," * 60 + b"[]]",
    "deep rows": b"[" + b"[[1],[2,3]],[[4]]," * 60 + b"0]",
    "objects": b'[{"a": [1, "},{"]}, ' + b'{"a": [1], "a": {"b": 2}}, ' * 60 + b"null] x",
    "strings": b'["' + b'a","],[", "\\"", "\\ud83d\\ude00' * 60 + b'\xff"]',
    "a bad element": b"[" + b"1," * 400 + b"x" + b",1" * 400 + b"]",
    "a list that ends early": b"[[" + b"1," * 100 + b"1]],[" + b"[1],[1]," * 50 + b"]",
    "an object that ends a list": b"[" + b"[1]," * 100 + b"[1}," + b"[1]," * 100,
    "a comma too many": b"[" + b"1," * 100 + b", 1]",
    "a lone surrogate": b"[" + b'"a",' * 100 + b'"\\ud800"]',
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("longest", [64, 300, 1 << 17])
@pytest.mark.parametrize("orjson", [True, False])
def test_long_texts_are_read_in_pieces_with_the_same_result(monkeypatch, text, longest, orjson):
    if not orjson:
        monkeypatch.setattr(json_reader, "orjson", None)
    monkeypatch.setattr(json_reader, "MAX_WHOLE", 0)
    monkeypatch.setattr(json_lists, "MAX_PIECE", longest)
    monkeypatch.setattr(json_lists, "MIN_PIECE", 16)
    monkeypatch.setattr(json_lists, "WORTHWHILE", 2)
    monkeypatch.setattr(json_lists, "BACKOFF", 1)
    got, want = refusal(json_reader.read, text), refusal(read_exactly, text)
    assert same(got, want) if not isinstance(want, str) else got == want


def test_pieces_are_most_of_a_long_list(monkeypatch):
    steps = []
    monkeypatch.setattr(json_exact._Reader, "step", lambda self: steps.append(self.at))
    monkeypatch.setattr(json_reader, "MAX_WHOLE", 0)
    rows = [[[0.5] * 3] * 20] * 800
    for indent, separators in (None, (",", ":")), (None, None), (1, None):
        text = json.dumps({"instances": rows}, indent=indent, separators=separators).encode()
        assert json_reader.read(text) == {"instances": rows}
    assert len(steps) < 1000


@pytest.mark.parametrize(
    "text",
    [b"[" + b'{"a":1},' * 5000, b'{"a":"' + b"\\n" * 5000, b" " * 300_000, b'["' + b"a" * 300_000, b"[" * 5000],
    ids=["values", "escapes", "spaces", "a string", "brackets"],
)
def test_reading_ends_with_the_call(monkeypatch, text):
    monkeypatch.setattr(json_exact, "STEPS", 1)
    with time_limit(None, lambda: False), pytest.raises(CancelledError, match="gave up"):
        read_exactly(text)
    with time_limit(1e-9), pytest.raises(DeadlineExceededError):
        read_exactly(text)


def test_the_call_is_checked_every_few_thousand_steps():
    looks = []
    with time_limit(None, lambda: looks.append(1) or len(looks) < 3), pytest.raises(CancelledError):
        read_exactly(b"[" + b"1," * 3 * json_exact.STEPS)
    assert len(looks) == 3


def test_nesting_has_a_limit(monkeypatch):
    monkeypatch.setattr(json_exact, "MAX_DEPTH", 10)
    assert read_exactly(b"[" * 10 + b"1" + b"]" * 10)
    with pytest.raises(Malformed, match=r"levels of nesting\. at offset: 11"):
        read_exactly(b"[" * 11 + b"1" + b"]" * 11)


def test_large_numbers_are_found_anywhere():
    large = re.compile(rb"[eE]\+?\d{3}|\d{19}")
    random = Random(7)
    for _ in range(1000):
        text = bytes(random.choices(b"0019eE+-. ,a\xff", k=random.randrange(9))) + b"7" * random.choice([0, 2, 17, 18])
        text += bytes(random.choices(b"0019eE+-.", k=3))
        assert json_reader.has_large_numbers(text) == bool(large.search(text)), text


# --- values in error texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        ("a", '"a"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, [2.5, None], "x"], '[1, [2.5, null], "x"]'),
        ({"a": 1}, '{\n    "a": 1\n}'),
        ({"a": {"b": []}, "c": 2}, '{\n    "a": {\n        "b": []\n    },\n    "c": 2\n}'),
        ([{"a": 1}], '[{\n        "a": 1\n    }]'),
        ([1, NAN, 2], "[1, "),
        ({"a": INFINITY}, '{\n    "a": '),
        (["x" * 300, 1], '["' + "x" * 300 + '"'),
        ([1] * 200, "[" + ", ".join(["1"] * 86)),
    ],
)
def test_values_are_shown_in_part_when_they_are_long(value, text):
    assert debug_text(value) == text


def test_debug_text_has_all_members_of_a_name():
    assert debug_text(DuplicateNames([("a", 1), ("a", 2)])) == '{\n    "a": 1,\n    "a": 2\n}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (5.003, "5.003"),
        (100.0, "100.0"),
        (123456789.125, "123456789.125"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e30, "1.5e30"),
        (0.000001, "0.000001"),
        (0.0000012, "0.0000012"),
        (1e-7, "1e-7"),
        (-2.5e-10, "-2.5e-10"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
    ],
)
def test_doubles_in_error_texts_have_the_fewest_digits(value, text):
    assert shortest(value) == text


def test_strings_are_escaped_as_little_as_can_be():
    assert quoted('"\\/\b\f\n\r\t\0\x1f\x7f\u00e4') == '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001F\x7f\u00e4"'
