"""Collector: callers to requests, and outcomes to callers, in pure time."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from simulated import FULL

from tfs_client.batching.collecting import Collector
from tfs_client.batching.examples import example_of
from tfs_client.batching.pace import Fixed
from tfs_client.batching.steps import Ended
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import (
    ClosedError,
    DeadlineExceededError,
    InvalidArgumentError,
    SignatureError,
    UnavailableError,
)
from tfs_client.results import Prediction


class Scene:
    """A collector, and a model y = 2 x that answers its requests when it is told to."""

    def __init__(self, batch_size=4, max_delay=1.0, in_flight=2):
        self.collector = Collector(batch_size, max_delay, Fixed(in_flight), {})

    def call(self, value, now=0.0, limit=None):
        example = example_of({"x": np.asarray(value, np.float32)})
        future = Future()
        self.collector.add(example, future, limit, now)
        return future

    def requests(self, now=0.0):
        found = list(self.collector.requests(now))
        self.tell()
        return found

    def rows(self, request):
        return self.collector.inputs(request)["x"].tolist()

    def answer(self, request, now=0.0, y=None):
        x = self.collector.inputs(request)["x"]
        spec = ModelSpec("m", 1, None, "s")
        prediction = Prediction({"y": 2 * x if y is None else y}, answered=spec, asked=spec, clock=(0, 0, 0, 0))
        self.end(Ended(request.job, prediction, None), now)

    def fail(self, request, error, now=0.0):
        self.end(Ended(request.job, None, error), now)

    def end(self, ended, now):
        self.collector.ended(ended, now)
        self.tell()

    def tell(self):
        for outcome in self.collector.outcomes():
            outcome.tell()


def value(future):
    return future.result(0)["y"].tolist()


def test_a_full_request_goes_at_once_and_every_caller_gets_its_row():
    scene = Scene(batch_size=3)
    futures = [scene.call(number) for number in range(3)]
    (request,) = scene.requests()
    assert scene.rows(request) == [0, 1, 2]
    scene.answer(request)
    assert [value(future) for future in futures] == [0, 2, 4]
    assert scene.collector.idle


def test_others_are_waited_for_until_the_delay_is_over():
    scene = Scene(max_delay=0.5)
    scene.call(1, now=10.0)
    scene.call(2, now=10.3)
    assert not scene.requests(10.4)
    assert scene.collector.wait(10.4) == pytest.approx(0.1)
    (request,) = scene.requests(10.5)
    assert scene.rows(request) == [1, 2]


def test_requests_become_fuller_while_enough_are_under_way():
    scene = Scene(batch_size=4, max_delay=0.0, in_flight=1)
    scene.call(0)
    (first,) = scene.requests()
    for number in (1, 2, 3):
        scene.call(number)
        assert not scene.requests(5.0)
    assert scene.collector.wait(5.0) is None
    scene.answer(first, 6.0)
    (second,) = scene.requests(6.0)
    assert scene.rows(second) == [1, 2, 3]


def test_what_was_cancelled_before_it_was_sent_is_not_sent():
    scene = Scene(batch_size=3)
    futures = [scene.call(number) for number in range(3)]
    futures[1].cancel()
    (request,) = scene.requests()
    assert scene.rows(request) == [0, 2]
    scene.answer(request)
    assert value(futures[2]) == 4


def test_a_request_that_everybody_cancelled_is_not_sent_and_blocks_nobody():
    scene = Scene(batch_size=2, in_flight=1)
    for future in [scene.call(1), scene.call(2)]:
        future.cancel()
    last = [scene.call(3), scene.call(4)]
    (request,) = scene.requests()
    assert scene.rows(request) == [3, 4]
    scene.answer(request)
    assert value(last[0]) == 6
    assert scene.collector.idle


def test_a_request_lasts_as_long_as_its_most_patient_caller():
    scene = Scene(batch_size=2)
    scene.call(1, limit=3.0)
    scene.call(2, now=1.0, limit=5.0)
    assert scene.requests(2.0)[0].timeout == pytest.approx(4.0)
    scene.call(1, limit=3.0)
    scene.call(2)
    assert scene.requests(2.0)[0].timeout is None


def test_a_callers_time_ends_though_its_request_is_under_way():
    scene = Scene(batch_size=2)
    hasty, patient = scene.call(1, limit=1.0), scene.call(2, limit=60.0)
    (request,) = scene.requests()
    assert scene.collector.wait(0.0) == pytest.approx(1.0)
    assert not scene.requests(1.0)
    with pytest.raises(DeadlineExceededError, match="no answer within 1 s"):
        hasty.result(0)
    assert scene.collector.wait(1.0) == pytest.approx(59.0)
    scene.answer(request, 2.0)
    assert value(patient) == 4


def test_a_callers_time_ends_while_it_waits_for_a_place():
    scene = Scene(batch_size=1, in_flight=1)
    scene.call(1)
    (first,) = scene.requests()
    late = scene.call(2, limit=0.5)
    assert not scene.requests(0.5)
    with pytest.raises(DeadlineExceededError, match=r"no request could be sent within 0\.5 s"):
        late.result(0)
    scene.answer(first, 1.0)
    assert not scene.requests(1.0)
    assert scene.collector.idle


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


def test_every_caller_has_an_error_of_its_own():
    scene = Scene(batch_size=2)
    futures = [scene.call(1), scene.call(2)]
    scene.fail(scene.requests()[0], UnavailableError("gone"))
    first, second = (future.exception(0) for future in futures)
    assert str(first) == str(second)
    assert first is not second


def test_an_error_that_cannot_be_copied_reaches_everybody_too():
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
        with pytest.raises(SignatureError, match="has no row for each of the 2 rows"):
            future.result(0)
    assert scene.collector.idle


def test_a_full_queue_is_waited_for():
    scene = Scene(batch_size=1, in_flight=1)
    future = scene.call(1)
    scene.fail(scene.requests()[0], UnavailableError(FULL), now=1.0)
    assert not scene.requests(1.0)
    (again,) = scene.requests(1.0 + scene.collector.wait(1.0))
    scene.answer(again, 2.0)
    assert value(future) == 2


def test_giving_up_fails_everybody_who_waits_and_nobody_who_was_sent():
    scene = Scene(batch_size=1, in_flight=1)
    sent = scene.call(0)
    (request,) = scene.requests()
    placeless = scene.call(1)
    assert not scene.requests()
    scene.collector._gathering.batch_size = 2
    gathered = scene.call(2)
    scene.collector.give_up(ClosedError("over"))
    scene.tell()
    for future in (placeless, gathered):
        with pytest.raises(ClosedError):
            future.result(0)
    scene.answer(request)
    assert value(sent) == 0
    assert scene.collector.idle


def test_a_caller_whose_time_is_over_is_not_sent_before_it_has_heard_of_it():
    scene = Scene(batch_size=2, in_flight=1)
    late = scene.call(1, limit=1.0)
    scene.call(2)
    requests = list(scene.collector.requests(1.0))  # nobody has been told yet
    assert [scene.rows(request) for request in requests] == [[2]]
    scene.tell()
    assert isinstance(late.exception(0), DeadlineExceededError)


def test_a_caller_that_has_its_outcome_is_forgotten():
    scene = Scene(batch_size=2)
    futures = [scene.call(number, limit=60.0) for number in range(3)]
    scene.answer(scene.requests()[0])
    futures[2].cancel()
    assert not scene.requests(2.0)
    assert not scene.collector._callers
    assert scene.collector.wait(2.0) is None
