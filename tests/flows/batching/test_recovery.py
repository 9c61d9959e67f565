"""Recovery: what happens to the rows of a failed request, and errors that name their rows."""

from __future__ import annotations

import pickle

import pytest
from simulated import FULL

from tfs_client._flows.batching.recovery import (
    FewerRows,
    GiveUp,
    RetryLater,
    SplitRows,
    own_copy,
    recovery_from,
    with_place,
)
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
    ("error", "recovery"),
    [
        (InvalidArgumentError(LIMIT), FewerRows(3, always=True)),
        (InvalidArgumentError(LIMIT.replace("3", "8")), GiveUp()),
        (InvalidArgumentError("bad shape"), SplitRows()),
        (UnavailableError(FULL), RetryLater(None)),
        (waiting(UnavailableError(FULL), 0.5), RetryLater(0.5)),
        (waiting(UnavailableError("restarting"), 2.0), RetryLater(2.0)),
        (waiting(ResourceExhaustedError("quota"), 2.0), RetryLater(2.0)),
        (UnavailableError("connection refused"), GiveUp()),
        (UnavailableError("Cancelling all calls"), GiveUp()),
        (ResourceExhaustedError("Received message larger than max (9 vs. 4)"), FewerRows(4, always=False)),
        (ResourceExhaustedError("OOM when allocating tensor"), FewerRows(4, always=False)),
        (ResourceExhaustedError("Server Threadpool Exhausted"), RetryLater(None)),
        (ResourceExhaustedError(""), RetryLater(None)),
        (EncodeError("expected a request of at most 5 bytes, got 9; send it in smaller batches"), FewerRows(4, False)),
        (of_the_whole_kind(InvalidArgumentError("bad shape")), GiveUp()),
        (SignatureError("no input 'z'"), SplitRows()),
        (EncodeError("ragged"), SplitRows()),
        (DecodeError("cut off"), SplitRows()),
        (ClosedError("closed"), GiveUp()),
        (ConfigError("which model?"), GiveUp()),
        (ValueError("of somebody else"), GiveUp()),
        (KeyboardInterrupt(), GiveUp()),
    ],
)
def test_the_recovery_from_errors_of_eight_rows(error, recovery):
    assert recovery_from(error, 8) == recovery


def test_a_single_row_that_takes_too_much_memory_fails():
    assert recovery_from(ResourceExhaustedError("OOM when allocating tensor"), 1) == GiveUp()


ERRORS = [
    *(cls("it was bad", "Predict", hint="look there") for cls in BY_CODE.values()),
    EncodeError("it was bad"),
    DecodeError("it was bad"),
    SignatureError("it was bad"),
    ConfigError("it was bad"),
    ClosedError("it was bad"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_adding_a_place_to_an_error_copies_it_and_keeps_its_class(error):
    before = str(error)
    placed = with_place(error, "This is the error of example 7.")
    assert type(placed) is type(error)
    assert placed is not error
    assert str(error) == before
    assert "it was bad" in str(placed)
    assert str(placed).count("This is the error of example 7.") == 1
    assert str(pickle.loads(pickle.dumps(placed))) == str(placed)


def test_a_place_changes_nothing_else():
    error = waiting(UnavailableError("gone", "Predict"), 3.0)
    error.request_id, error.unreached = "abc", True
    error.__cause__ = OSError("why")
    placed = with_place(error, "here")
    assert (placed.retry_after, placed.request_id, placed.unreached, placed.details) == (3.0, "abc", True, "gone")
    assert placed.__cause__ is error.__cause__


class Peculiar(TFServingError):
    """A user's error, which cannot be constructed from its own arguments."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def test_an_error_that_cannot_be_copied_is_used_unchanged():
    error = Peculiar(1, 2)
    assert own_copy(error) is error
    assert str(with_place(error, "here")) == "1 and 2 (here)"
