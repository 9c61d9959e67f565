"""Batch calls in callbacks of futures: a wait that would never end is refused, with advice."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from batch_models import slow_server
from calling import target_of

from tfs_client import MicroBatcher, PredictClient
from tfs_client.errors import ConfigError, DeadlineExceededError

PATIENCE = 20
LONG = 3600.0  # seconds: no request is due before it is full
X = {"x": np.float32([1, 2])}
ONE = {"x": np.float32(1)}


@pytest.fixture
def client(gate, request):
    """A client of a model that waits at the gate."""
    with slow_server(gate) as server:
        target = target_of(getattr(request, "param", "grpc"), server)
        with PredictClient(target, model="m", timeout=PATIENCE) as client:
            yield client
            gate.open.set()


def in_callback(future, gate, function):
    """The result or error of a function called in a callback of a future whose call waits at the gate."""
    outcome = Future()

    def run(_):
        try:
            outcome.set_result(function())
        except Exception as error:
            outcome.set_exception(error)

    future.add_done_callback(run)
    gate.open.set()
    return outcome.result(PATIENCE)


def predict_in_batcher(client):
    with MicroBatcher(client) as batcher:
        return batcher.predict(ONE)


WAITS = {
    "predict_batched": lambda client: client.predict_batched(X, batch_size=1),
    "predict_many": lambda client: list(client.predict_many([ONE])),
    "MicroBatcher.predict": predict_in_batcher,
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("future_of", ["predict_future", "MicroBatcher"])
def test_waiting_in_the_thread_that_delivers_answers_is_refused(client, gate, future_of, waits):
    with MicroBatcher(client, max_batch_size=1) as batcher:
        future = batcher.submit(ONE) if future_of == "MicroBatcher" else client.predict_future(X)
        with pytest.raises(ConfigError, match="move the work to another thread"):
            in_callback(future, gate, lambda: waits(client))
    waits(client)  # elsewhere it works again


def test_an_iterator_started_in_another_thread_is_refused_too(client, gate):
    results = client.predict_many([ONE] * 3, batch_size=1, in_flight=1)
    gate.open.set()
    next(results)
    gate.open.clear()
    future = client.predict_future(X)
    with pytest.raises(ConfigError, match="in the thread that delivers all answers"):
        in_callback(future, gate, lambda: next(results))


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_a_callback_may_wait_for_another_client(client, gate, models, waits):
    with PredictClient(models.target, model="picky", timeout=PATIENCE) as other:
        assert in_callback(client.predict_future(X), gate, lambda: waits(other))


@pytest.mark.parametrize("client", ["rest"], indirect=True)
@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_over_rest_a_callback_may_wait(client, gate, waits):
    assert in_callback(client.predict_future(X), gate, lambda: waits(client))


def test_predict_works_in_a_callback(client, gate):
    assert in_callback(client.predict_future(X), gate, lambda: client.predict(X))["y"].tolist() == [1, 2]


def test_a_batcher_whose_callers_wait_for_the_callback_is_closed_without_waiting(client, gate):
    batcher = MicroBatcher(client, max_batch_size=1)
    first, second = batcher.submit(ONE), []

    def close():
        second.append(batcher.submit(ONE))
        batcher.close()

    with pytest.raises(ConfigError, match="would deadlock"):
        in_callback(first, gate, close)
    assert second[0].result(PATIENCE)["y"] == 1
    batcher.close()


@pytest.mark.parametrize("client", ["grpc", "rest"], indirect=True)
def test_waiting_in_the_timer_thread_is_refused_too(client, gate):
    with MicroBatcher(client, max_delay=LONG) as batcher:
        late = batcher.submit(ONE, timeout=0.01)
        with pytest.raises(ConfigError, match="runs in the timer thread"):
            in_callback(late, gate, lambda: batcher.predict(ONE))
        assert isinstance(late.exception(PATIENCE), DeadlineExceededError)
