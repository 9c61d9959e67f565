"""How values and texts from outside appear in messages: short, printable, and without a second error."""

from __future__ import annotations

import pickle
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfs_client._printable import LONGEST_TEXT, bounded, counted, printable, shown
from tfs_client.errors import BY_CODE, ConfigError, DecodeError, StatusCode, call_error, unreadable

LIMIT = 4096


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [deep(10_000), "x" * 10**7, b"\x1b[2J" * 10**6, 10**5000, Hostile(), np.broadcast_to(np.float32(1), (5,) * 26)],
    ids=["deep", "long", "bytes", "digits", "raising", "broadcast"],
)
def test_any_value_is_shown_in_few_characters(value):
    text = shown(value)
    assert text
    assert len(text) <= 80
    assert text.isprintable()


def test_small_values_are_shown_whole():
    assert shown([1, "a", None]) == "[1, 'a', None]"
    assert shown({"x": 1.5}) == "{'x': 1.5}"


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(0, 20_000))
def test_texts_are_cut_and_printable(text, more):
    found = bounded(text + "\x1b" * more)
    assert len(found.encode()) <= LONGEST_TEXT
    assert not {unicodedata.category(character) for character in found.translate({10: None, 9: None})} & {"Cc", "Cs"}


BLANK = "\u115f\u1160\u3164\uffa0"  # letters without a shape


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"], exclude_characters=BLANK), max_size=500))
def test_ordinary_texts_are_unchanged(text):
    assert bounded(text) == printable(text) == text


@pytest.mark.parametrize(
    "character", [*BLANK, *"\xad\u034f\u061c\u180e\u200b\u200c\u200d\u2060\ufe0f\ufeff\U000e0041\U000e0100"]
)
def test_invisible_characters_are_escaped(character):
    found = printable(f"resnet{character}50")
    assert found == "resnet" + character.encode("unicode_escape").decode() + "50"


def test_long_texts_keep_both_ends():
    found = bounded("first " + "x" * 10**6 + " last")
    assert found.startswith("first xx")
    assert found.endswith("xx last")
    assert "(1000011 characters in all)" in found


@pytest.mark.parametrize("code", BY_CODE)
def test_errors_have_bounded_texts_and_whole_details(code):
    details = "\x1b[31mred\x07\n" + "é" * 10**5
    error = pickle.loads(pickle.dumps(call_error(code, details, "Predict", "try again")))
    assert error.details == details
    for text in (str(error), repr(error)):
        assert len(text.encode()) <= LIMIT
        assert "\x1b" not in text
        assert "\x07" not in text
    assert str(error).startswith("Predict: " + StatusCode(code).name)
    assert str(error).endswith("try again")


@pytest.mark.parametrize("cls", [ConfigError, DecodeError])
def test_the_clients_own_errors_are_bounded(cls):
    error = cls("got " + "\x9b" * 10**5)
    assert len(str(error)) <= LIMIT
    assert "\x9b" not in str(error)


def test_an_unexpected_error_of_a_reader_is_a_decode_error():
    cause = RecursionError("maximum depth" + "!" * 10**5)
    error = unreadable("the reply of Predict", cause)
    assert isinstance(error, DecodeError)
    assert str(error).startswith("the reply of Predict cannot be read: RecursionError: maximum depth!!!")
    assert len(str(error)) < 600


def test_counts_have_the_singular_for_one():
    assert [counted(number, "failed calls of models") for number in (0, 1, 2)] == [
        "0 failed calls of models",
        "1 failed call of models",
        "2 failed calls of models",
    ]
