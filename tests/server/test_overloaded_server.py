"""Crowds over gRPC: too many calls at once, and calls whose clients have gone."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
from gated_models import GatedModel

from tfs_client import AsyncPredictClient, PredictClient, RetryPolicy, TensorSpec
from tfs_client.errors import ResourceExhaustedError
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
ONE = {"x": np.float32([1])}


@pytest.fixture
def model():
    gated = GatedModel()
    yield gated
    gated.open.set()


@pytest.fixture
def serving(model):
    """Starts a server with the model, given its options."""
    with ExitStack() as stack:

        def start(kind=Server, **options):
            server = kind(ServerConfig(threads=1, shutdown_grace=0, **options))
            add = (server if kind is Server else server.server).add_model
            add("m", {"serving_default": FunctionSignature(model, {"x": VECTOR}, {"y": VECTOR})})
            return stack.enter_context(server).target

        yield start
        model.open.set()


def outcomes(results):
    return collections.Counter(type(each).__name__ if isinstance(each, Exception) else "ok" for each in results)


async def crowd(target, size, **options):
    async with AsyncPredictClient(target, model="m", timeout=20, **options) as client:
        return await asyncio.gather(*(client.predict(ONE) for _ in range(size)), return_exceptions=True)


def test_a_burst_of_calls_is_answered(serving, model):
    model.open.set()
    assert outcomes(asyncio.run(crowd(serving(FakeServer), 1300))) == {"ok": 1300}


def test_calls_beyond_those_that_may_wait_are_refused_as_busy(serving, model):
    target = serving(max_waiting_calls=3)
    with PredictClient(target, model="m", timeout=20) as client:
        first = client.predict_future(ONE)
        assert model.entered.wait(10)
        others = [client.predict_future(ONE) for _ in range(8)]
        end = time.monotonic() + 10
        while len(refused := [each for each in others if each.done()]) < 5:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert {type(each.exception()) for each in refused} == {ResourceExhaustedError}
        assert {each.exception().details for each in refused} == {"Server Threadpool Exhausted"}
        model.open.set()
        assert sum(each.exception(10) is None for each in [first, *others]) == 4


def test_a_retry_policy_carries_a_crowd_over_a_small_bound(serving, model):
    target = serving(max_waiting_calls=5)
    threading.Timer(0.1, model.open.set).start()
    assert outcomes(asyncio.run(crowd(target, 20, retry=RetryPolicy(initial_backoff=0.3)))) == {"ok": 20}


def test_status_is_answered_while_predictions_are_refused(serving, model):
    target = serving(max_waiting_calls=1)
    with PredictClient(target, model="m", timeout=20) as client:
        running = [client.predict_future(ONE) for _ in range(3)]
        assert model.entered.wait(10)
        assert client.status()
        model.open.set()
        assert any(each.exception(10) is None for each in running)


@pytest.mark.parametrize("leave", ["cancel", "deadline"])
def test_calls_of_clients_that_have_gone_do_not_run(serving, model, leave):
    target = serving()
    with PredictClient(target, model="m", timeout=20) as client:
        first = client.predict_future(ONE)
        assert model.entered.wait(10)
        gone = [client.predict_future(ONE, timeout=0.2 if leave == "deadline" else 20) for _ in range(20)]
        time.sleep(0.1)
        for each in gone:
            if leave == "cancel":
                each.cancel()
            else:
                assert each.exception(10) is not None
        time.sleep(0.1)
        model.open.set()
        assert first.result(10).array.tolist() == [1]
        assert client.predict(ONE).array.tolist() == [1]
    assert model.runs == 2
