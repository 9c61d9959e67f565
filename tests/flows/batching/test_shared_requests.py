"""SharedRequests: calls share requests and get their own outcomes; times are passed in."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from simulated import FULL

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.batching.batch_steps import Ended
from tfs_client._flows.batching.concurrency_limit import FixedLimit
from tfs_client._flows.batching.example_rows import read_example
from tfs_client._flows.batching.shared_requests import GRACE, SharedRequests
from tfs_client.errors import (
    ClosedError,
    DeadlineExceededError,
    InvalidArgumentError,
    SignatureError,
    UnavailableError,
)
from tfs_client.results import Prediction


class Scene:
    """Shared requests, and a model y = 2 x that answers them on demand."""

    def __init__(self, batch_size=4, max_delay=1.0, in_flight=2):
        self.shared = SharedRequests(batch_size, max_delay, FixedLimit(in_flight), {})

    def call(self, value, now=0.0, limit=None):
        example = read_example({"x": np.asarray(value, np.float32)})
        future = Future()
        self.shared.add(example, future, limit, now)
        return future

    def requests(self, now=0.0):
        found = list(self.shared.due(now))
        self.deliver()
        return found

    def rows(self, request):
        return self.shared.inputs(request)["x"].tolist()

    def answer(self, request, now=0.0, y=None):
        x = self.shared.inputs(request)["x"]
        spec = ModelSpec("m", 1, None, "s")
        prediction = Prediction({"y": 2 * x if y is None else y}, answered=spec, asked=spec, clock=(0, 0, 0, 0))
        self.end(Ended(request.job, prediction, None), now)

    def fail(self, request, error, now=0.0):
        self.end(Ended(request.job, None, error), now)

    def end(self, ended, now):
        self.shared.ended(ended, now)
        self.deliver()

    def deliver(self):
        for delivery in self.shared.deliveries():
            delivery.deliver()


def unreached():
    error = UnavailableError("refused", hint="Is it running?")
    error.unreached = True
    return error


def value(future):
    return future.result(0)["y"].tolist()


def test_a_full_request_goes_at_once_and_every_caller_gets_its_row():
    scene = Scene(batch_size=3)
    futures = [scene.call(number) for number in range(3)]
    (request,) = scene.requests()
    assert scene.rows(request) == [0, 1, 2]
    scene.answer(request)
    assert [value(future) for future in futures] == [0, 2, 4]
    assert scene.shared.idle


def test_callers_wait_for_others_until_the_delay_is_over():
    scene = Scene(max_delay=0.5)
    scene.call(1, now=10.0)
    scene.call(2, now=10.3)
    assert not scene.requests(10.4)
    assert scene.shared.wait(10.4) == pytest.approx(0.1)
    (request,) = scene.requests(10.5)
    assert scene.rows(request) == [1, 2]


def test_requests_grow_while_enough_are_in_flight():
    scene = Scene(batch_size=4, max_delay=0.0, in_flight=1)
    scene.call(0)
    (first,) = scene.requests()
    for number in (1, 2, 3):
        scene.call(number)
        assert not scene.requests(5.0)
    assert scene.shared.wait(5.0) is None
    scene.answer(first, 6.0)
    (second,) = scene.requests(6.0)
    assert scene.rows(second) == [1, 2, 3]


def test_a_call_cancelled_before_it_was_sent_is_not_sent():
    scene = Scene(batch_size=3)
    futures = [scene.call(number) for number in range(3)]
    futures[1].cancel()
    (request,) = scene.requests()
    assert scene.rows(request) == [0, 2]
    scene.answer(request)
    assert value(futures[2]) == 4


def test_a_request_cancelled_by_all_callers_is_not_sent_and_blocks_no_other():
    scene = Scene(batch_size=2, in_flight=1)
    for future in [scene.call(1), scene.call(2)]:
        future.cancel()
    last = [scene.call(3), scene.call(4)]
    (request,) = scene.requests()
    assert scene.rows(request) == [3, 4]
    scene.answer(request)
    assert value(last[0]) == 6
    assert scene.shared.idle


def test_a_request_lasts_as_long_as_its_most_patient_caller():
    scene = Scene(batch_size=2)
    scene.call(1, limit=3.0)
    scene.call(2, now=1.0, limit=5.0)
    assert scene.requests(2.0)[0].timeout == pytest.approx(4.0)
    scene.call(1, limit=3.0)
    scene.call(2)
    assert scene.requests(2.0)[0].timeout is None


def test_a_deadline_expires_while_the_request_is_in_flight():
    scene = Scene(batch_size=2)
    hasty, patient = scene.call(1, limit=1.0), scene.call(2, limit=60.0)
    (request,) = scene.requests()
    assert scene.shared.wait(0.0) == pytest.approx(1.0)
    assert not scene.requests(1.0)
    with pytest.raises(DeadlineExceededError, match="no answer within 1 s"):
        hasty.result(0)
    assert scene.shared.wait(1.0) == pytest.approx(59.0 + GRACE)
    scene.answer(request, 2.0)
    assert value(patient) == 4


def test_a_caller_whose_deadline_is_that_of_the_request_gets_the_reason():
    scene = Scene(batch_size=2, in_flight=1)
    hasty, patient = scene.call(1, limit=1.0), scene.call(2, limit=2.0)
    (request,) = scene.requests()
    assert not scene.requests(2.0)
    assert "no answer within 1 s" in str(hasty.exception(0))
    assert not patient.done()
    error = DeadlineExceededError("no server was reached")
    error.unreached = True
    scene.fail(request, error, 2.01)
    assert patient.exception(0).details == "no server was reached"
    assert patient.exception(0).unreached
    assert scene.shared.idle


def test_callers_with_nearly_the_deadline_of_the_request_get_the_reason_too():
    scene = Scene(batch_size=3, in_flight=1)
    futures = [scene.call(1, limit=limit) for limit in (1.0 - GRACE, 1.0 - GRACE / 4, 1.0)]
    (request,) = scene.requests()
    assert not scene.requests(1.01)
    scene.fail(request, DeadlineExceededError("no server was reached"), 1.02)
    texts = [future.exception(0).details for future in futures]
    assert texts == ["no answer within 0.9 s", "no server was reached", "no server was reached"]


@pytest.mark.parametrize("pausing", [True, False])
def test_a_deadline_between_two_attempts_says_how_the_last_one_failed(pausing):
    scene = Scene(batch_size=2, in_flight=1)
    hasty, _ = scene.call(1, limit=1.0), scene.call(2, limit=60.0)
    (request,) = scene.requests()
    request.attempt.error, request.attempt.pausing = unreached(), pausing
    assert not scene.requests(1.0 if pausing else 1.0 + GRACE)
    what = "no server was reached" if pausing else "no answer"
    error = hasty.exception(0)
    assert error.details == f"{what} within 1 s; the last attempt: UNAVAILABLE: refused"
    assert (error.unreached, error.hint) == (pausing, "Is it running?")
    assert error.__cause__.unreached


@pytest.mark.parametrize("first", [True, False], ids=["first attempt", "later attempt"])
def test_a_deadline_during_an_attempt_after_one_that_reached_no_server_waits_for_its_end(first):
    scene = Scene(batch_size=2, in_flight=1)
    if first:
        scene.call(0), scene.call(0)
        scene.fail(scene.requests()[0], unreached())
    hasty, _ = scene.call(1, limit=1.0), scene.call(2, limit=60.0)
    (request,) = scene.requests()
    request.attempt.error = None if first else unreached()
    assert not scene.requests(1.0)
    assert not hasty.done()
    assert scene.shared.wait(1.0) == pytest.approx(GRACE)
    request.attempt.error, request.attempt.pausing = unreached(), True
    assert not scene.requests(1.0 + GRACE)
    assert hasty.exception(0).unreached


def test_a_row_that_waits_behind_requests_that_reach_no_server_says_so():
    scene = Scene(batch_size=1, in_flight=2)
    for _ in range(2):
        scene.call(1)
    one, other = scene.requests()
    one.attempt.error = unreached()
    early, late, last = (scene.call(2, limit=limit) for limit in (1.0, 2.0, 3.0))
    assert not scene.requests(1.0)
    other.attempt.error = unreached()
    assert not scene.requests(2.0)
    for request in (one, other):
        scene.fail(request, unreached(), 3.0)
    assert not scene.requests(3.0)
    assert early.exception(0).details == "no request could be sent within 1 s", "the other request may be answered"
    assert not early.exception(0).unreached
    for future in (late, last):
        assert future.exception(0).unreached
        assert "no server was reached within" in future.exception(0).details


def test_a_request_that_does_not_end_at_its_deadline_holds_no_caller():
    scene = Scene(batch_size=1, in_flight=1)
    late = scene.call(1, limit=1.0)
    assert scene.requests()
    assert not scene.requests(1.0)
    assert scene.shared.wait(1.0) == pytest.approx(GRACE)
    assert not scene.requests(1.0 + GRACE)
    assert "no answer within 1 s" in str(late.exception(0))


def test_a_row_that_waits_again_expires_at_its_deadline():
    scene = Scene(batch_size=1, in_flight=1)
    late = scene.call(1, limit=1.0)
    (request,) = scene.requests()
    scene.fail(request, UnavailableError(FULL))
    assert not scene.requests(1.0)
    assert "last refused with" in str(late.exception(0))


@pytest.mark.parametrize("ends", [True, False], ids=["its request ends first", "the deadline passes first"])
def test_a_deadline_after_a_refusal_keeps_the_refusal(ends):
    scene = Scene(batch_size=1, in_flight=1)
    late = scene.call(1, limit=9.0)
    (request,) = scene.requests()
    scene.fail(request, UnavailableError(FULL))
    (again,) = scene.requests(scene.shared.wait(0.0))
    if ends:
        scene.fail(again, DeadlineExceededError("no answer"), 8.999)
    else:
        assert not scene.requests(9.0)
    assert "no answer within 9 s; last refused with UNAVAILABLE" in str(late.exception(0))
    assert isinstance(late.exception(0).__cause__, UnavailableError)


def test_a_deadline_expires_while_the_row_waits():
    scene = Scene(batch_size=1, in_flight=1)
    scene.call(1)
    (first,) = scene.requests()
    late = scene.call(2, limit=0.5)
    assert not scene.requests(0.5)
    with pytest.raises(DeadlineExceededError, match=r"no request could be sent within 0\.5 s"):
        late.result(0)
    scene.answer(first, 1.0)
    assert not scene.requests(1.0)
    assert scene.shared.idle


def test_a_bad_row_fails_alone():
    scene = Scene(batch_size=4, in_flight=4)
    futures = [scene.call(number) for number in range(4)]
    pending = scene.requests()
    while pending:
        for request in pending:
            if 2 in scene.rows(request):
                scene.fail(request, InvalidArgumentError("no twos"))
            else:
                scene.answer(request)
        pending = scene.requests()
    assert [value(futures[index]) for index in (0, 1, 3)] == [0, 2, 6]
    with pytest.raises(InvalidArgumentError, match="no twos"):
        futures[2].result(0)


def test_every_caller_gets_its_own_copy_of_an_error():
    scene = Scene(batch_size=2)
    futures = [scene.call(1), scene.call(2)]
    scene.fail(scene.requests()[0], UnavailableError("gone"))
    first, second = (future.exception(0) for future in futures)
    assert str(first) == str(second)
    assert first is not second


def test_an_error_that_cannot_be_copied_reaches_all_callers():
    class Peculiar(Exception):
        def __init__(self, first, second):
            super().__init__("peculiar")

    scene = Scene(batch_size=2)
    futures = [scene.call(1), scene.call(2)]
    scene.fail(scene.requests()[0], Peculiar(1, 2))
    assert [type(future.exception(0)) for future in futures] == [Peculiar] * 2


def test_outputs_without_a_row_for_each_caller_fail_all_of_them():
    scene = Scene(batch_size=2)
    futures = [scene.call(1), scene.call(2)]
    scene.answer(scene.requests()[0], y=np.float32([1]))
    for future in futures:
        with pytest.raises(SignatureError, match="expected length 2 along axis 0"):
            future.result(0)
    assert scene.shared.idle


def test_a_request_refused_by_a_full_queue_is_sent_again():
    scene = Scene(batch_size=1, in_flight=1)
    future = scene.call(1)
    scene.fail(scene.requests()[0], UnavailableError(FULL), now=1.0)
    assert not scene.requests(1.0)
    (again,) = scene.requests(1.0 + scene.shared.wait(1.0))
    scene.answer(again, 2.0)
    assert value(future) == 2


def test_fail_waiting_fails_waiting_callers_and_no_others():
    scene = Scene(batch_size=1, in_flight=1)
    sent = scene.call(0)
    (request,) = scene.requests()
    placeless = scene.call(1)
    assert not scene.requests()
    scene.shared._groups.batch_size = 2
    gathered = scene.call(2)
    scene.shared.fail_waiting(ClosedError("over"))
    scene.deliver()
    for future in (placeless, gathered):
        with pytest.raises(ClosedError):
            future.result(0)
    scene.answer(request)
    assert value(sent) == 0
    assert scene.shared.idle


def test_a_caller_past_its_deadline_is_not_sent():
    scene = Scene(batch_size=2, in_flight=1)
    late = scene.call(1, limit=1.0)
    scene.call(2)
    requests = list(scene.shared.due(1.0))  # nothing is delivered yet
    assert [scene.rows(request) for request in requests] == [[2]]
    scene.deliver()
    assert isinstance(late.exception(0), DeadlineExceededError)


def test_a_caller_is_freed_once_it_has_its_outcome():
    scene = Scene(batch_size=2)
    futures = [scene.call(number, limit=60.0) for number in range(3)]
    scene.answer(scene.requests()[0])
    futures[2].cancel()
    assert not scene.requests(2.0)
    assert not scene.shared._callers
    assert scene.shared.wait(2.0) is None
