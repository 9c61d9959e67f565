"""Verdicts: what a failure means for the rows of a request, and errors that tell which rows they are about."""

from __future__ import annotations

import pickle

import pytest
from simulated import FULL

from tfs_client.batching.verdicts import Blamed, Busy, Lost, TooLarge, judge, own_copy, with_place
from tfs_client.errors import (
    BY_CODE,
    ClosedError,
    ConfigError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    ResourceExhaustedError,
    SignatureError,
    TFServingError,
    UnavailableError,
)

LIMIT = "Task size 8 is larger than maximum input batch size 3"


def waiting(error, seconds):
    error.retry_after = seconds
    return error


def of_the_whole_kind(error):
    error.mismatch = True
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (InvalidArgumentError(LIMIT), TooLarge(3, always=True)),
        (InvalidArgumentError(LIMIT.replace("3", "8")), Lost()),
        (InvalidArgumentError("bad shape"), Blamed()),
        (UnavailableError(FULL), Busy(None)),
        (waiting(UnavailableError(FULL), 0.5), Busy(0.5)),
        (waiting(UnavailableError("restarting"), 2.0), Busy(2.0)),
        (waiting(ResourceExhaustedError("quota"), 2.0), Busy(2.0)),
        (UnavailableError("connection refused"), Lost()),
        (UnavailableError("Cancelling all calls"), Lost()),
        (ResourceExhaustedError("Received message larger than max (9 vs. 4)"), TooLarge(4, always=False)),
        (ResourceExhaustedError("OOM when allocating tensor"), TooLarge(4, always=False)),
        (ResourceExhaustedError("Server Threadpool Exhausted"), Busy(None)),
        (ResourceExhaustedError(""), Busy(None)),
        (EncodeError("expected a request of at most 5 bytes, got 9; send it in smaller batches"), TooLarge(4, False)),
        (of_the_whole_kind(InvalidArgumentError("bad shape")), Lost()),
        (SignatureError("no input 'z'"), Blamed()),
        (EncodeError("ragged"), Blamed()),
        (DecodeError("cut off"), Blamed()),
        (ClosedError("closed"), Lost()),
        (ConfigError("which model?"), Lost()),
        (ValueError("of somebody else"), Lost()),
        (KeyboardInterrupt(), Lost()),
    ],
)
def test_what_an_error_means_for_eight_rows(error, verdict):
    assert judge(error, 8) == verdict


def test_a_single_row_that_takes_too_much_memory_is_lost():
    assert judge(ResourceExhaustedError("OOM when allocating tensor"), 1) == Lost()


ERRORS = [
    *(cls("it was bad", "Predict", hint="look there") for cls in BY_CODE.values()),
    EncodeError("it was bad"),
    DecodeError("it was bad"),
    SignatureError("it was bad"),
    ConfigError("it was bad"),
    ClosedError("it was bad"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_with_a_place_is_another_object_of_the_same_class(error):
    before = str(error)
    placed = with_place(error, "It was about example 7.")
    assert type(placed) is type(error)
    assert placed is not error
    assert str(error) == before
    assert "it was bad" in str(placed)
    assert str(placed).count("It was about example 7.") == 1
    assert str(pickle.loads(pickle.dumps(placed))) == str(placed)


def test_a_place_changes_nothing_else():
    error = waiting(UnavailableError("gone", "Predict"), 3.0)
    error.request_id, error.unreached = "abc", True
    error.__cause__ = OSError("why")
    placed = with_place(error, "here")
    assert (placed.retry_after, placed.request_id, placed.unreached, placed.details) == (3.0, "abc", True, "gone")
    assert placed.__cause__ is error.__cause__


class Peculiar(TFServingError):
    """Of a user: it cannot be made from its own arguments."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def test_an_error_that_cannot_be_copied_is_used_as_it_is():
    error = Peculiar(1, 2)
    assert own_copy(error) is error
    assert str(with_place(error, "here")) == "1 and 2 (here)"
