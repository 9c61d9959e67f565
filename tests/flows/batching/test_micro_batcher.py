"""MicroBatcher: calls from many threads share requests, but not errors, timeouts or cancellations."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest
from batch_models import BAD, slow_server

from tfs_client import AsyncPredictClient, MicroBatcher, PredictClient, RetryPolicy, TensorSpec
from tfs_client.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TFServingError,
)
from tfs_client.server import FunctionServable, FunctionSignature, Server
from tfs_client.server.batching import BatchingParameters, BatchingServable

LONG = 3600.0  # seconds: no request is due before it is full
PATIENCE = 20


def example(number, shape=()):
    return {"x": np.full(shape, number, np.float32)}


def value(prediction):
    return float(prediction["y"].flat[0])


@pytest.fixture(params=["grpc", "rest"])
def client(request, models):
    """A client of the shared server, which first clears its record of calls."""
    models.clear_calls()
    target = models.rest_url if request.param == "rest" else models.target
    with PredictClient(target, model="picky", timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def gated_client(gate):
    """A client of a model that waits at the gate; ``client.server`` records the calls."""
    with slow_server(gate) as server, PredictClient(server.target, model="m", timeout=PATIENCE) as client:
        client.server = server
        yield client
        gate.open.set()


def predicts(server):
    return [call for call in server.calls if call.method == "Predict"]


def from_threads(threads, function):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(threads)))


def test_concurrent_callers_share_few_requests(client, models):
    together = threading.Barrier(64)
    with MicroBatcher(client, max_batch_size=16, max_delay=1.0) as batcher:

        def call(number):
            together.wait(PATIENCE)
            return batcher.predict(example(number, (3,)))["y"]

        found = from_threads(64, call)
    whole = client.predict({"x": np.repeat(np.arange(64, dtype=np.float32), 3).reshape(64, 3)})["y"]
    assert np.array(found).tobytes() == whole.tobytes()
    assert len(predicts(models)) == 4 + 1


def test_a_full_request_does_not_wait(client, models):
    with MicroBatcher(client, max_batch_size=3, max_delay=LONG) as batcher:
        futures = [batcher.submit(example(number)) for number in range(6)]
        assert [value(future.result(PATIENCE)) for future in futures] == [0, 2, 4, 6, 8, 10]
        assert [len(call.inputs["x"]) for call in predicts(models)] == [3, 3]


def test_a_single_caller_waits_only_for_the_delay(client):
    with MicroBatcher(client, max_batch_size=100, max_delay=0.05) as batcher:
        began = time.monotonic()
        assert value(batcher.predict(example(4))) == 8
        assert time.monotonic() - began >= 0.05


def test_at_most_in_flight_requests_are_sent_at_once(gated_client, gate):
    with MicroBatcher(gated_client, max_batch_size=2, max_delay=0.0, in_flight=1) as batcher:
        first = batcher.submit(example(1))
        assert gate.entered.wait(PATIENCE)
        others = [batcher.submit(example(number)) for number in range(5)]
        gate.open.set()
        for future in [first, *others]:
            future.result(PATIENCE)
    assert sorted(len(call.inputs["x"]) for call in predicts(gated_client.server)) == [1, 1, 2, 2]


def test_examples_of_different_shapes_are_sent_separately(client, models):
    shapes = [(), (2,), (3,), (2, 2)]
    with MicroBatcher(client, max_batch_size=4, max_delay=LONG) as batcher:
        futures = [batcher.submit(example(number, shapes[number % 4])) for number in range(16)]
        found = [future.result(PATIENCE)["y"] for future in futures]
    assert [y.shape for y in found] == shapes * 4
    assert [y.flat[0] for y in found] == [2 * number for number in range(16)]
    assert len(predicts(models)) == 4


def test_shared_inputs_and_options_apply_to_all_calls(client, models):
    columns = {"a": np.ones(3, np.float32), "b": np.int64(7), "s": "x", "h": np.zeros(2), "flag": False}
    with MicroBatcher(client, max_delay=0.1, shared={"k": 2.0}, model="mixed", outputs=["loud", "not"]) as batcher:
        futures = [batcher.submit(columns) for _ in range(5)]
        for future in futures:
            outputs = future.result(PATIENCE)
            assert set(outputs) == {"loud", "not"}
            assert outputs["loud"].item() == b"x!"
    (call,) = predicts(models)
    assert call.inputs["k"].shape == ()


def test_a_bad_example_fails_alone(client):
    with MicroBatcher(client, max_batch_size=8, max_delay=LONG) as batcher:
        futures = [batcher.submit(example(BAD if number in (2, 5) else number)) for number in range(8)]
        for number, future in enumerate(futures):
            if number in (2, 5):
                with pytest.raises(InvalidArgumentError, match="minus one is beyond me"):
                    future.result(PATIENCE)
            else:
                assert value(future.result(PATIENCE)) == 2 * number


def test_an_invalid_example_fails_before_it_is_queued(client):
    with MicroBatcher(client) as batcher:
        with pytest.raises(EncodeError, match="input 'x': expected a tensor, got None"):
            batcher.submit({"x": None})
        with pytest.raises(EncodeError, match="expected a rectangular array"):
            batcher.predict([[1], [2, 3]])
        with pytest.raises(ConfigError, match="expected a timeout in seconds above 0"):
            batcher.predict([1.0], timeout=0)


def test_each_caller_gets_its_own_copy_of_a_request_error(client):
    with MicroBatcher(client, max_batch_size=3, max_delay=LONG, model="nobody") as batcher:
        errors = [future.exception(PATIENCE) for future in [batcher.submit(example(1)) for _ in range(3)]]
    assert [type(error) for error in errors] == [NotFoundError] * 3
    assert len(set(map(id, errors))) == 3
    with (
        MicroBatcher(client, max_delay=0.0, model="whole") as batcher,
        pytest.raises(SignatureError, match="does not have one row"),
    ):
        batcher.predict(example(1))


def test_a_short_timeout_fails_only_its_caller(gated_client, gate):
    with MicroBatcher(gated_client, max_batch_size=3, max_delay=LONG) as batcher:
        hasty = batcher.submit(example(1), timeout=0.1)
        patient = [batcher.submit(example(number)) for number in (2, 3)]
        assert gate.entered.wait(PATIENCE)
        with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.1 s"):
            hasty.result(PATIENCE)
        assert not any(future.done() for future in patient)
        gate.open.set()
        assert [value(future.result(PATIENCE)) for future in patient] == [2, 3]


def test_callers_learn_that_no_server_was_reached():
    with (
        PredictClient("127.0.0.1:9", model="m", timeout=0.5, retry=RetryPolicy()) as client,
        MicroBatcher(client) as batcher,
    ):
        for call in (batcher.predict, lambda row: batcher.submit(row).result(PATIENCE)):
            with pytest.raises(DeadlineExceededError, match="no server was reached within") as caught:
                call(example(1))
            assert caught.value.unreached


def test_callers_of_one_request_learn_that_no_server_was_reached_each_at_its_deadline():
    with (
        PredictClient("127.0.0.1:9", model="m", retry=RetryPolicy(initial_backoff=0.01)) as client,
        MicroBatcher(client, max_batch_size=8, max_delay=LONG) as batcher,
    ):
        limits = [0.6, *(1.2 + at / 1000 for at in range(7))]  # far apart: a busy machine delays attempts
        futures = [batcher.submit(example(1), timeout=limit) for limit in limits]
        errors = [future.exception(PATIENCE) for future in futures]
    assert [(type(error), error.unreached) for error in errors] == [(DeadlineExceededError, True)] * 8
    assert "no server was reached within 0.6 s; the last attempt: UNAVAILABLE: " in str(errors[0])
    assert errors[0].attempts >= 1
    assert errors[0].__cause__.unreached


def test_predict_raises_at_its_timeout_too(gated_client):
    with MicroBatcher(gated_client, max_delay=0.0) as batcher:
        with pytest.raises(DeadlineExceededError, match=r"No answer from .* within 0\.0\d+ s"):
            batcher.predict(example(1), timeout=0.05)
        with pytest.raises(DeadlineExceededError):
            batcher.submit(example(1), timeout=0.05).result(PATIENCE)


def test_a_row_that_is_never_sent_fails_at_its_timeout(gated_client, gate):
    with MicroBatcher(gated_client, max_batch_size=1, in_flight=1) as batcher:
        first = batcher.submit(example(1))
        assert gate.entered.wait(PATIENCE)
        with pytest.raises(DeadlineExceededError, match=r"no request could be sent within 0\.05 s"):
            batcher.submit(example(2), timeout=0.05).result(PATIENCE)
        gate.open.set()
        first.result(PATIENCE)
    assert len(predicts(gated_client.server)) == 1


def test_a_call_cancelled_before_it_is_sent_never_reaches_the_server(client, models):
    with MicroBatcher(client, max_batch_size=3, max_delay=LONG) as batcher:
        first, second = batcher.submit(example(1)), batcher.submit(example(2))
        assert first.cancel()
        third = batcher.submit(example(3))
        assert [value(future.result(PATIENCE)) for future in (second, third)] == [4, 6]
        with pytest.raises(CancelledError):
            first.result(0)
        assert list(as_completed([first, second, third], timeout=PATIENCE))
    (call,) = predicts(models)
    assert call.inputs["x"].tolist() == [2, 3]


def test_a_call_cancelled_after_it_was_sent_is_still_answered(gated_client, gate):
    with MicroBatcher(gated_client, max_batch_size=2, max_delay=LONG) as batcher:
        futures = [batcher.submit(example(number)) for number in (1, 2)]
        assert gate.entered.wait(PATIENCE)
        assert not futures[0].cancel()
        gate.open.set()
        assert [value(future.result(PATIENCE)) for future in futures] == [1, 2]


def test_nothing_is_sent_when_all_callers_have_cancelled(client, models):
    with MicroBatcher(client, max_batch_size=9, max_delay=0.02, in_flight=1) as batcher:
        for shape in ((1,), (2,), (3,)):
            assert batcher.submit(example(1, shape)).cancel()
        assert value(batcher.submit(example(5)).result(PATIENCE)) == 10
    assert [call.inputs["x"].tolist() for call in predicts(models)] == [[5]]


def test_closing_sends_waiting_calls_and_returns_when_all_are_answered(client):
    batcher = MicroBatcher(client, max_batch_size=4, max_delay=LONG, in_flight=1)
    futures = [batcher.submit(example(number, (number % 3,) if number % 3 else ())) for number in range(30)]
    batcher.close()
    assert all(future.done() for future in futures)
    assert [value(future.result(0)) for future in futures] == [2 * number for number in range(30)]
    for call in (batcher.submit, batcher.predict):
        with pytest.raises(ClosedError, match=r"MicroBatcher of PredictClient.*was closed"):
            call(example(1))
    batcher.close()
    assert value(client.predict(example(1, (1,)))) == 2


def test_closing_with_a_timeout_fails_calls_that_were_not_sent(gated_client, gate):
    batcher = MicroBatcher(gated_client, max_batch_size=1, in_flight=1)
    sent = batcher.submit(example(1))
    assert gate.entered.wait(PATIENCE)
    waiting = [batcher.submit(example(number)) for number in (2, 3)]
    batcher.close(timeout=0.05)
    for future in waiting:
        with pytest.raises(ClosedError, match="was closed"):
            future.result(0)
    gate.open.set()
    assert value(sent.result(PATIENCE)) == 1
    batcher.close()
    assert len(predicts(gated_client.server)) == 1


def test_a_bad_timeout_does_not_close(client):
    with MicroBatcher(client) as batcher:
        with pytest.raises(ConfigError):
            batcher.close(timeout=-1)
        assert value(batcher.predict(example(1))) == 2


def test_closing_the_client_fails_all_calls(gate):
    with slow_server(gate) as server:
        client = PredictClient(server.target, model="m")
        with MicroBatcher(client, max_batch_size=1, in_flight=2) as batcher:
            futures = [batcher.submit(example(number)) for number in range(3000)]  # deeper than a stack, one by one
            assert gate.entered.wait(PATIENCE)
            client.close()
            gate.open.set()
            assert {type(future.exception(PATIENCE)) for future in futures} == {ClosedError}
            with pytest.raises(ClosedError):
                batcher.predict(example(1))


def test_requests_that_fail_at_once_do_not_exhaust_the_stack(models):
    def token():
        raise LookupError("no token")

    with (
        PredictClient(models.target, model="picky", token=token) as client,
        MicroBatcher(client, max_batch_size=1, max_delay=LONG, in_flight=1) as batcher,
    ):
        futures = [batcher.submit(example(number, (number,))) for number in range(1200)]
        assert {type(future.exception(PATIENCE)) for future in futures} == {LookupError}


def test_an_error_in_a_callback_stops_nothing_else(client):
    def fail(future):
        raise RuntimeError("in a callback")

    with MicroBatcher(client, max_batch_size=4, max_delay=0.01) as batcher:
        for _ in range(3):
            futures = [batcher.submit(example(number)) for number in range(4)]
            for future in futures:
                future.add_done_callback(fail)
            assert [value(future.result(PATIENCE)) for future in futures] == [0, 2, 4, 6]


def test_callbacks_may_call_and_close_the_batcher(client):
    followed, closed = [], threading.Event()
    batcher = MicroBatcher(client, max_batch_size=1)

    def follow(future):
        followed.append(batcher.submit(example(value(future.result(0)))))

        def close(_):
            batcher.close()
            closed.set()

        followed[0].add_done_callback(close)

    batcher.submit(example(1)).add_done_callback(follow)
    assert closed.wait(PATIENCE)
    assert value(followed[0].result(PATIENCE)) == 4


def test_callbacks_run_while_others_call(client):
    with MicroBatcher(client, max_batch_size=2, max_delay=LONG) as batcher:
        first, called = batcher.submit(example(1)), threading.Event()
        others = []

        def call():
            others.append(batcher.submit(example(3)))
            called.set()

        def wait_for_another_thread(_):
            threading.Thread(target=call).start()
            assert called.wait(PATIENCE)

        first.add_done_callback(wait_for_another_thread)
        second = batcher.submit(example(2))
        assert value(second.result(PATIENCE)) == 4
        assert called.wait(PATIENCE)
        batcher.close()
        assert value(others[0].result(0)) == 6


def test_closing_waits_until_outcomes_are_delivered(client):
    batcher = MicroBatcher(client, max_batch_size=2, max_delay=LONG)
    delivered = []
    futures = [batcher.submit(example(1)) for _ in range(1)]
    futures[0].add_done_callback(lambda _: time.sleep(0.05) or delivered.append(1))
    batcher.close()
    assert delivered == [1]


def test_the_servers_limit_is_learned():
    anything = TensorSpec("float32", None)
    model = FunctionServable({"serving_default": FunctionSignature(lambda x: 2 * x, {"x": anything}, {"y": anything})})
    parameters = BatchingParameters(max_batch_size=3, num_batch_threads=1, max_enqueued_batches=2)
    with BatchingServable(model, parameters) as batched, Server() as server:
        server.add_model("m", batched)
        with (
            PredictClient(server.target, model="m") as client,
            MicroBatcher(client, max_batch_size=16, max_delay=0.01, in_flight="auto") as batcher,
        ):
            found = from_threads(48, lambda number: value(batcher.predict(example(number))))
    assert found == [2 * number for number in range(48)]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_batch_size": 0}, ConfigError, "expected a batch size of at least 1"),
        ({"max_delay": -1}, ConfigError, "expected max_delay in seconds, from 0 to 3600, got -1"),
        ({"max_delay": None}, ConfigError, "expected max_delay in seconds"),
        ({"in_flight": "many"}, ConfigError, "expected in_flight as a number of requests"),
        ({"timeout": 0}, ConfigError, "expected a timeout in seconds above 0"),
        ({"shared": {"k": None}}, EncodeError, "shared input 'k': expected a tensor, got None"),
        ({"max_size": 3}, TypeError, "unexpected option 'max_size'; known options, besides the method's own: model"),
    ],
)
def test_bad_arguments_are_explained(client, options, error, text):
    with pytest.raises(error, match=text):
        MicroBatcher(client, **options)


def test_a_batcher_belongs_to_its_process(client):
    with (
        MicroBatcher(client) as batcher,
        pytest.raises(TypeError, match="pickle its client, and create a MicroBatcher from it in each process"),
    ):
        pickle.dumps(batcher)


def test_only_a_blocking_client_is_accepted():
    client = AsyncPredictClient("localhost:1")
    with pytest.raises(ConfigError, match="use AsyncMicroBatcher with an AsyncPredictClient"):
        MicroBatcher(client)
    asyncio.run(client.close())
    for kind in (PredictClient, AsyncPredictClient):
        with pytest.raises(ConfigError, match="expected a PredictClient"):
            MicroBatcher(kind)
    with pytest.raises(ConfigError, match="expected a PredictClient, got 'localhost:8500'"):
        MicroBatcher("localhost:8500")


FORK = """
import os, sys
import numpy as np
from tfs_client import MicroBatcher, PredictClient

client = PredictClient(sys.argv[1], model="picky")
batcher = MicroBatcher(client, max_delay=0.01)
assert batcher.predict({"x": np.float32(1)})["y"] == 2
never = batcher.submit({"x": np.float32(1)})
child = os.fork()
found = [batcher.predict({"x": np.float32(n)})["y"] for n in range(20)]
assert found == [2 * n for n in range(20)], found
batcher.close()
client.close()
if child == 0:
    os._exit(0)
assert never.result(20)["y"] == 2
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_process_gets_its_own_batcher(models, tmp_path):
    script = Path(tmp_path, "forks.py")
    script.write_text(FORK)
    run = subprocess.run(
        [sys.executable, script, models.target], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr


def test_the_thread_ends_with_the_batcher(client):
    with MicroBatcher(client, max_delay=0.01) as batcher:
        batcher.predict(example(1))
        (watch,) = [thread for thread in threading.enumerate() if thread.name == "tfs-client-batches"]
    watch.join(2)
    assert not watch.is_alive()


def test_every_caller_gets_an_outcome_whatever_fails(models):
    chance = random.Random(0)
    plans = [[(chance.random(), chance.randrange(1, 3)) for _ in range(50)] for _ in range(32)]
    kinds = {"good": 0, "cancelled": 0, "late": 0, "bad": 0}

    def work(index):
        found = []
        for number, (draw, size) in enumerate(plans[index]):
            sent = BAD if draw > 0.95 else float(1000 * index + number)
            timeout = 0.002 if 0.1 < draw < 0.2 else None
            future = batcher.submit(example(sent, (size,)), timeout=timeout)
            if draw < 0.1 and future.cancel():
                found.append("cancelled")
                continue
            try:
                assert value(future.result(PATIENCE)) == 2 * sent
                found.append("good")
            except DeadlineExceededError:
                assert timeout is not None
                found.append("late")
            except InvalidArgumentError:
                assert sent == BAD
                found.append("bad")
        return found

    with (
        PredictClient(models.target, model="picky", timeout=PATIENCE) as client,
        MicroBatcher(client, max_batch_size=8, max_delay=0.001) as batcher,
    ):
        for found in from_threads(32, work):
            assert len(found) == 50
            for kind in found:
                kinds[kind] += 1
    models.clear_calls()
    assert kinds["good"] > 750
    assert kinds["bad"]
    assert kinds["cancelled"]


def test_errors_are_of_the_package(client):
    with MicroBatcher(client, max_delay=0.0) as batcher, pytest.raises(TFServingError):
        batcher.predict(example(BAD))
