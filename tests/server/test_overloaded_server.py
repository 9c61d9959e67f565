"""Crowds over gRPC: too many calls at once, and calls whose clients have disconnected."""

from __future__ import annotations

import asyncio
import collections
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import numpy as np
import pytest
from gated_models import CountedModel, GatedModel
from served_models import until

from tfs_client import AsyncPredictClient, ModelServerConfig, PredictClient, RetryPolicy, TensorSpec
from tfs_client.errors import ConfigError, DeadlineExceededError, NotFoundError, ResourceExhaustedError, StatusCode
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.server_metrics import ServerMetrics
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
            server = kind(ServerConfig(**{"threads": 1, "shutdown_grace": 0, **options}))
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


def test_calls_beyond_the_queue_limit_are_refused_as_busy(serving, model):
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


def test_with_retries_every_call_of_a_crowd_succeeds_despite_a_small_limit(serving, model):
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
def test_calls_of_disconnected_clients_do_not_run(serving, model, leave):
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


# --- a server that refuses calls when all threads are busy, as the model server does ---------------------------------


def test_with_all_threads_busy_the_next_call_is_refused_at_once(serving, model):
    target = serving(threads=3, thread_pool_exhausted="refuse")
    with PredictClient(target, model="m", timeout=20) as client:
        running = [client.predict_future(ONE) for _ in range(3)]
        until(lambda: model.runs == 3)
        for _ in range(5):
            with pytest.raises(ResourceExhaustedError) as caught:
                client.predict(ONE)
            assert caught.value.details == "Server Threadpool Exhausted"
        assert client.status()
        assert client.signatures()
        client.reload_config(ModelServerConfig())
        model.open.set()
        assert [each.result(10).array.tolist() for each in running] == [[1]] * 3
    assert model.runs == 3


@pytest.mark.parametrize("clients", [1, 4])
def test_as_many_callers_as_threads_are_never_refused(serving, model, clients):
    """Each makes its next call as soon as it has a reply."""
    model.open.set()
    target = serving(threads=clients, thread_pool_exhausted="refuse")

    def calls(_):
        with PredictClient(target, model="m", timeout=20, retry=None) as client:
            return [client.predict(ONE).array.tolist() for _ in range(100)]

    with ThreadPoolExecutor(clients) as pool:
        assert list(pool.map(calls, range(clients))) == [[[1]] * 100] * clients


def test_a_caller_whose_call_fails_may_make_the_next_one_at_once(serving):
    with PredictClient(serving(thread_pool_exhausted="refuse"), model="nope", timeout=20, retry=None) as client:
        for _ in range(100):
            with pytest.raises(NotFoundError):
                client.predict(ONE)


def test_a_crowd_gets_answers_and_refusals_and_never_more_runs_than_threads():
    counted = CountedModel(0.002)
    with Server(ServerConfig(threads=2, thread_pool_exhausted="refuse")) as server:
        server.add_model("m", {"serving_default": FunctionSignature(counted, {"x": VECTOR}, {"y": VECTOR})})
        found = outcomes(asyncio.run(crowd(server.target, 400)))
        assert found["ok"] + found["ResourceExhaustedError"] == 400
        assert found["ok"] >= 2
        assert counted.most <= 2
        assert outcomes(asyncio.run(crowd(server.target, 2))) == {"ok": 2}


def test_a_call_that_its_client_cancels_keeps_its_thread_until_the_model_ends(serving, model):
    target = serving(thread_pool_exhausted="refuse")
    with PredictClient(target, model="m", timeout=20, retry=None) as client:
        first = client.predict_future(ONE)
        assert model.entered.wait(10)
        assert first.cancel()
        with pytest.raises(ResourceExhaustedError):
            client.predict(ONE)
        model.open.set()
        until_accepted(client)


def until_accepted(client):
    end = time.monotonic() + 10
    while True:
        try:
            return client.predict(ONE)
        except ResourceExhaustedError:
            assert time.monotonic() < end


def test_a_request_that_does_not_arrive_takes_no_thread(serving, model, connect):
    model.open.set()
    client = connect(serving(thread_pool_exhausted="refuse"))
    sent = threading.Event()

    def never():
        sent.wait(20)
        yield from ()

    def answer():
        return list(client.predict({"name": "m"}, ONE).outputs["y"].float_val)

    def accepted():
        try:
            return answer() == [1]
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False

    until(accepted)  # the connection is open: calls now arrive in the order in which they begin
    slow = client.channel.stream_unary("/tensorflow.serving.PredictionService/Predict").future(never(), timeout=20)
    until(accepted)
    for _ in range(20):
        assert answer() == [1]
    assert not slow.done()
    slow.cancel()
    sent.set()


def test_over_rest_calls_still_wait(model):
    with FakeServer(ServerConfig(threads=1, thread_pool_exhausted="refuse")) as server:
        server.add_model("m", model, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with PredictClient(server.rest_url, model="m", timeout=20) as client, ThreadPoolExecutor(3) as pool:
            running = [pool.submit(client.predict, ONE) for _ in range(3)]
            assert model.entered.wait(10)
            model.open.set()
            assert [each.result(10).array.tolist() for each in running] == [[1]] * 3


def test_a_fake_server_records_refused_calls(model):
    with FakeServer(ServerConfig(threads=1, thread_pool_exhausted="refuse")) as server:
        server.add_model("m", model, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with PredictClient(server.target, model="m", timeout=20, retry=None) as client:
            first = client.predict_future(ONE)
            assert model.entered.wait(10)
            with pytest.raises(ResourceExhaustedError):
                client.predict(ONE)
            model.open.set()
            first.result(10)
        assert [call.code.name for call in server.calls] == ["RESOURCE_EXHAUSTED", "OK"]


def test_the_latency_of_a_call_includes_its_wait_for_a_thread(model):
    metrics = ServerMetrics()
    with Server(ServerConfig(threads=1), metrics=metrics) as server:
        server.add_model("m", {"serving_default": FunctionSignature(model, {"x": VECTOR}, {"y": VECTOR})})
        with PredictClient(server.target, model="m", timeout=20) as client:
            calls = [client.predict_future(ONE) for _ in range(2)]
            assert model.entered.wait(10)
            time.sleep(0.3)
            model.open.set()
            for each in calls:
                each.result(10)
    sums = re.findall(r"request_latency_sum\{.*\} (\S+)", metrics.page())
    assert [float(each) >= 0.55e6 for each in sums] == [True]


def test_a_fake_server_records_calls_that_end_while_they_wait_for_a_thread(model):
    with FakeServer(ServerConfig(threads=1)) as server:
        server.add_model("m", model, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with PredictClient(server.target, model="m", timeout=20, retry=None) as client:
            first = client.predict_future(ONE)
            assert model.entered.wait(10)
            with pytest.raises(DeadlineExceededError):
                client.predict(ONE, timeout=0.2)
            model.open.set()
            first.result(10)
            until(lambda: len(server.calls) == 2)
        (late,) = (call for call in server.calls if call.code is not StatusCode.OK)
        assert (late.code, late.method) == (StatusCode.DEADLINE_EXCEEDED, "Predict")
        assert late.timeout == pytest.approx(0.2, abs=0.1)


def test_values_other_than_queue_and_refuse_are_refused():
    with pytest.raises(ConfigError, match=r"expected thread_pool_exhausted .* of 'queue' or 'refuse', got 'drop'"):
        ServerConfig(thread_pool_exhausted="drop")
