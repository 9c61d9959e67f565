"""LastAttempt: what it notes of the steps of a request."""

from __future__ import annotations

import pytest

from tfs_client._flows.batching.last_attempt import LastAttempt
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.steps import Send, Sleep
from tfs_client.errors import InvalidArgumentError, UnavailableError

SEND = Send("/method", b"", Deadline(None))


def retried():
    """A flow that pauses after one failure, and asks somebody about another, before it raises it."""
    try:
        yield SEND
    except UnavailableError:
        yield Sleep(0.1)
    try:
        yield SEND
    except InvalidArgumentError:
        yield SEND
        raise
    return "answered"


def test_it_is_a_failure_that_a_pause_follows():
    attempt = LastAttempt()
    flow = attempt.watched(retried())
    next(flow)
    error = UnavailableError("gone")
    flow.throw(error)
    assert attempt.error is not error
    assert (str(attempt.error), attempt.error.__traceback__) == (str(error), None)
    assert attempt.pausing
    assert flow.send(None) is SEND
    assert attempt.error.details == "gone"
    assert not attempt.pausing
    with pytest.raises(StopIteration) as end:
        flow.send("reply")
    assert end.value.value == "answered"
    assert attempt.error is None


def test_an_error_that_ends_the_request_is_not_noted():
    """It may be the fault of another row."""
    attempt = LastAttempt()
    flow = attempt.watched(retried())
    next(flow)
    flow.send("reply")
    assert flow.throw(InvalidArgumentError("row 3")) is SEND
    assert attempt.error is None
    with pytest.raises(InvalidArgumentError, match="row 3"):
        flow.send("reply")


def test_a_cancelled_request_ends_its_flow():
    ended = []

    def flow():
        try:
            yield SEND
        finally:
            ended.append(True)

    watched = LastAttempt().watched(flow())
    next(watched)
    watched.close()
    assert ended == [True]
