"""The error tree: a class for each code, texts, and pickling."""

from __future__ import annotations

import copy
import pickle
import re

import grpc
import pytest

import tfs_client
from tfs_client import errors
from tfs_client.errors import BY_CODE, CallError, StatusCode, TFServingError, call_error

NOT_SENT = ("EncodeError", "DecodeError", "SignatureError", "ImageError", "ConfigError", "ClosedError")


def test_the_codes_are_grpcs():
    assert {code.name: code.value for code in StatusCode} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_every_code_but_ok_has_its_own_class():
    assert set(BY_CODE) == set(StatusCode) - {StatusCode.OK}
    assert len(set(BY_CODE.values())) == len(BY_CODE)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_the_class_is_named_after_its_code(code):
    words = "".join(word.capitalize() for word in code.name.split("_"))
    assert BY_CODE[code].__name__ == f"{words}Error"
    assert getattr(tfs_client, f"{words}Error") is BY_CODE[code]


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_an_error_carries_code_text_method_and_hint(code):
    error = call_error(code, "the text", "Predict", "try this")
    assert type(error) is BY_CODE[code]
    assert isinstance(error, CallError)
    assert (error.code, error.details, error.method, error.hint) == (code, "the text", "Predict", "try this")
    assert str(error) == f"Predict: {code.name}: the text\ntry this"


def test_an_error_without_details_says_what_its_code_means():
    assert str(call_error(StatusCode.UNIMPLEMENTED, "", "Check")) == (
        "Check: UNIMPLEMENTED: the server does not have this method"
    )
    assert str(call_error(StatusCode.INTERNAL, "")) == "INTERNAL: the server gave no reason"


def test_without_method_and_hint_the_text_is_shorter():
    assert str(errors.NotFoundError("gone")) == "NOT_FOUND: gone"


@pytest.mark.parametrize("code", StatusCode)
def test_errors_survive_pickle_and_copy(code):
    error = call_error(code, "the text", "Predict", "try this")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(back) is type(error)
        assert (back.code, back.details, back.method, back.hint) == (code, "the text", "Predict", "try this")
        assert str(back) == str(error)


def test_a_code_without_class_is_a_plain_call_error():
    error = call_error(StatusCode.OK, "odd")
    assert type(error) is CallError
    assert error.code is StatusCode.OK


@pytest.mark.parametrize("name", NOT_SENT)
def test_an_error_before_any_server_was_reached_has_no_code(name):
    error = getattr(errors, name)("the text")
    assert isinstance(error, TFServingError)
    assert not isinstance(error, CallError)
    assert isinstance(error, ValueError) == (name != "ClosedError")
    assert str(pickle.loads(pickle.dumps(error))) == "the text"


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = set(re.findall(r"\b(\w+Error)\b", errors.__doc__))
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")}
    assert drawn == found


def test_everything_is_caught_by_the_root():
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, TFServingError)
