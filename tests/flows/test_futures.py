"""predict_future: a standard future whose cancelling reaches the server."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import FIRST_COMPLETED, as_completed, wait

import grpc
import numpy as np
import pytest

from tfs_client import (
    ClosedError,
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    PredictClient,
    RetryPolicy,
    SignatureError,
    StatusCode,
    TensorSpec,
    UnavailableError,
    make_tensor_proto,
)
from tfs_client.protos.tensorflow_serving.apis import predict_pb2

VECTORS = {"inputs": {"x": TensorSpec("float32", (None,))}, "outputs": {"y": TensorSpec("float32", (None,))}}


def eventually(condition, seconds=10):
    """Wait until ``condition()`` holds; True when it did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def slow(gated):
    """A client of the model that waits at the gate."""
    with PredictClient(gated.target, model="slow", timeout=30) as client:
        yield client


class Watched:
    """A raw Predict handler that blocks until its call is over, and records how gRPC reported it."""

    def __init__(self) -> None:
        self.entered, self.ended = threading.Event(), threading.Event()

    def __call__(self, request, context):
        context.add_callback(self.ended.set)
        self.entered.set()
        assert self.ended.wait(20)
        self.active = context.is_active()
        return b""


@pytest.fixture
def watched(raw_server):
    """A client of a server that watches its call, and the watcher."""
    watcher = Watched()
    with PredictClient(raw_server(Predict=watcher), model="m", timeout=30) as client:
        yield client, watcher
        watcher.ended.set()


def test_a_future_is_a_standard_one_and_has_the_prediction(client):
    future = client.predict_future({"x": [1.0, 2.0]})
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(10).array.tolist() == [2, 4]
    assert future.exception() is None
    assert future.done()
    assert not future.cancelled()
    assert future.result().model.version == 1


def test_a_bare_array_works_too(client):
    assert client.predict_future([1.0]).result(10).array.tolist() == [2]


def test_a_refusal_is_raised_by_result_and_returned_by_exception(client):
    future = client.predict_future({"x": [1.0]}, model="nothing")
    with pytest.raises(NotFoundError):
        future.result(10)
    assert isinstance(future.exception(), NotFoundError)


def test_a_missing_server_is_raised_by_result():
    with PredictClient("127.0.0.1:1", model="m") as client:
        future = client.predict_future({"x": [1.0]})
        with pytest.raises(UnavailableError, match="Nothing that speaks gRPC"):
            future.result(10)


def test_a_refused_single_value_is_resent_with_fresh_signatures(client, double):
    client.predict_future([1.0]).result(10)
    vector = TensorSpec("float32", (None,))
    double.add_model("double", lambda z: 3 * z, inputs={"z": vector}, outputs={"y": vector}, version=2)
    assert client.predict_future([1.0]).result(10).array.tolist() == [3]  # sent as "x" first, then as "z"


def test_inputs_that_are_refused_are_compared_with_the_signature(client):
    error = client.predict_future({"X": [1.0]}).exception(10)
    assert isinstance(error, InvalidArgumentError)
    assert "'X' is not an input, but 'x' is" in error.hint


def test_bad_inputs_raise_at_once(client, double):
    with pytest.raises(EncodeError, match="input 'x'"):
        client.predict_future({"x": None})
    double.clear_calls()
    future = client.predict_future(np.array([0.1]))  # the signature has to be asked for first
    with pytest.raises(SignatureError):
        future.result(10)
    assert all(call.method != "Predict" for call in double.calls)


def test_a_reply_that_cannot_be_read_surfaces_in_result(raw_server):
    with PredictClient(raw_server(Predict=lambda *_: b"\xff"), model="m") as client:
        future = client.predict_future({"x": [1.0]})
        with pytest.raises(DecodeError, match="the reply of Predict"):
            future.result(10)


def test_a_timeout_surfaces_in_result(slow):
    future = slow.predict_future({"x": [1.0]}, timeout=0.1)
    with pytest.raises(DeadlineExceededError, match=r"within 0.1 s"):
        future.result(10)


def test_a_timeout_of_result_does_not_end_the_call(slow, gate):
    future = slow.predict_future({"x": [1.0]})
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.05)
    assert not future.done()
    gate.open.set()
    assert future.result(10).array.tolist() == [1]


def test_as_completed_and_wait_work(client):
    futures = {client.predict_future({"x": [float(n)]}): n for n in range(20)}
    for future in as_completed(futures, 10):
        assert future.result().array.tolist() == [2 * futures[future]]
    assert wait(futures, 10).not_done == set()


def test_wait_returns_the_first_one(slow, client, gate):
    waiting, quick = slow.predict_future({"x": [1.0]}), client.predict_future({"x": [1.0]})
    done, pending = wait([waiting, quick], 10, FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {waiting})


def test_two_hundred_in_flight(client):
    futures = [client.predict_future({"x": np.full(1000, n, np.float32)}) for n in range(200)]
    for number, future in enumerate(futures):
        assert future.result(30).array[-1] == 2 * number


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_reaches_the_server(watched):
    client, watcher = watched
    future = client.predict_future({"x": [1.0]})
    assert watcher.entered.wait(10)
    assert future.cancel()
    assert watcher.ended.wait(10)
    assert eventually(lambda: hasattr(watcher, "active"))
    assert not watcher.active
    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(0)


def test_a_cancelled_call_is_recorded_as_such_by_the_fake_server(slow, gated, gate):
    future = slow.predict_future({"x": np.float32([1])})
    assert gate.entered.wait(10)
    assert future.cancel()
    time.sleep(0.5)  # let it travel
    gate.open.set()
    assert eventually(lambda: gated.calls)
    assert gated.calls[-1].code is StatusCode.CANCELLED


def test_a_call_can_be_cancelled_before_it_was_sent():
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,  # takes connections and never says a word
        PredictClient(f"127.0.0.1:{mute.getsockname()[1]}", model="m", timeout=30) as client,
    ):
        future = client.predict_future({"x": [1.0]})
        assert future.cancel()
        assert future.cancelled()
        assert wait([future], 5).done == {future}


def test_a_finished_call_cannot_be_cancelled(client):
    future = client.predict_future({"x": [1.0]})
    future.result(10)
    assert not future.cancel()
    assert not future.cancelled()
    assert future.result().array.tolist() == [2]


def test_cancelling_again_returns_the_same(slow):
    future = slow.predict_future({"x": [1.0]})
    assert future.cancel()
    assert future.cancel()


def test_cancelling_wakes_waiting_threads(slow):
    future = slow.predict_future({"x": [1.0]})
    timer = threading.Timer(0.05, future.cancel)
    timer.start()
    assert list(as_completed([future], 10)) == [future]
    assert wait([future], 10).done == {future}
    with pytest.raises(concurrent.futures.CancelledError):
        future.exception(10)
    timer.join()


def test_many_threads_may_cancel_at_once(slow):
    for _ in range(20):
        future = slow.predict_future({"x": [1.0]})
        barrier, answers = threading.Barrier(8), []

        def cancel(future=future, barrier=barrier, answers=answers):
            barrier.wait(10)
            answers.append(future.cancel())

        threads = [threading.Thread(target=cancel) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert answers == [True] * 8
        assert future.cancelled()


def test_cancelling_while_answers_arrive_leaves_every_future_in_one_state(client):
    for n in range(100):
        future = client.predict_future({"x": [float(n)]})
        if n % 3:
            time.sleep(0.0002 * (n % 10))
        if future.cancel():
            assert future.cancelled()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(10)
        else:
            assert future.result(10).array.tolist() == [2 * n]
        assert future.done()


def test_a_call_after_a_cancelled_one_is_not_disturbed(slow, gate):
    slow.predict_future({"x": [1.0]}).cancel()
    gate.open.set()
    assert slow.predict_future({"x": [2.0]}).result(10).array.tolist() == [2]


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_callbacks_run_once_with_the_future(client):
    seen, called = [], threading.Event()

    def note(future):
        seen.append(future.result().array.tolist())
        called.set()

    client.predict_future({"x": [1.0]}).add_done_callback(note)
    assert called.wait(10)
    assert seen == [[2]]


def test_callbacks_run_on_cancellation(slow):
    seen = []
    future = slow.predict_future({"x": [1.0]})
    future.add_done_callback(lambda done: seen.append(done.cancelled()))
    future.cancel()
    assert eventually(lambda: seen)
    assert seen == [True]


def test_a_callback_may_cancel_again(slow):
    answers = []
    future = slow.predict_future({"x": [1.0]})
    future.add_done_callback(lambda done: answers.append(done.cancel()))
    canceller = threading.Thread(target=future.cancel, daemon=True)
    canceller.start()
    canceller.join(10)
    assert not canceller.is_alive()
    assert answers == [True]


def test_a_callback_may_start_the_next_call(client):
    chain = []
    finished = threading.Event()

    def go_on(future):
        chain.append(float(future.result().array[0]))
        if len(chain) < 3:
            client.predict_future({"x": [chain[-1]]}).add_done_callback(go_on)
        else:
            finished.set()

    client.predict_future({"x": [1.0]}).add_done_callback(go_on)
    assert finished.wait(10)
    assert chain == [2, 4, 8]


def test_a_callback_may_close_the_client(double):
    client = PredictClient(double.target, model="double")
    closed = threading.Event()

    def close(future):
        client.close()
        closed.set()

    client.predict_future({"x": [1.0]}).add_done_callback(close)
    assert closed.wait(10)
    with pytest.raises(ClosedError):
        client.predict_future({"x": [1.0]})


def test_a_callback_may_close_the_client_during_other_calls(gated, gate):
    gated.add_model("quick", lambda x: x, **VECTORS)
    client = PredictClient(gated.target, model="slow", timeout=60)
    others = [client.predict_future({"x": np.float32([1])}) for _ in range(3)]
    assert gate.entered.wait(20)
    closed = threading.Event()

    def close(_):
        client.close()
        with pytest.raises(ClosedError):
            client.predict({"x": np.float32([1])}, model="quick")
        closed.set()

    client.predict_future({"x": np.float32([1])}, model="quick").add_done_callback(close)
    assert closed.wait(20)
    for other in others:
        with pytest.raises(ClosedError):
            other.result(20)


def test_errors_have_the_servers_words(client):
    error = client.predict_future({"x": np.array([1.0])}).exception(10)
    assert isinstance(error, InvalidArgumentError)
    assert error.details == "Expects arg[0] to be float but double is provided"
    assert error.method == "Predict"


# --- pauses between attempts -----------------------------------------------------------------------------------------


class Refusing:
    """A raw Predict handler that refuses the first calls of each ``x-call``, and notes when calls came."""

    def __init__(self, times: int, pause: float) -> None:
        self.times, self.pause = times, pause
        self.came: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def __call__(self, request, context):
        name = dict(context.invocation_metadata()).get("x-call", "")
        with self._lock:
            came = self.came.setdefault(name, [])
            came.append(time.monotonic())
        if len(came) <= self.times:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(int(self.pause * 1000))),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        reply = predict_pb2.PredictResponse()
        reply.outputs["y"].CopyFrom(make_tensor_proto([2.0], "float32"))
        return reply.SerializeToString()


@pytest.fixture
def retrying(raw_server):
    """Makes a client whose calls are refused so often, with a pause; and the server's notes."""
    with contextlib.ExitStack() as stack:

        def make(times, pause):
            refusing = Refusing(times, pause)
            target = raw_server(Predict=refusing)
            client = stack.enter_context(PredictClient(target, model="m", timeout=120, retry=RetryPolicy(budget=1000)))
            return client, refusing

        yield make


def test_futures_pause_between_attempts_all_on_one_thread(retrying):
    client, refusing = retrying(2, 0.2)
    futures = [client.predict_future({"x": [1.0]}, metadata={"x-call": str(n)}) for n in range(50)]
    assert [future.result(30).array.tolist() for future in futures] == [[2.0]] * 50
    for came in refusing.came.values():
        assert len(came) == 3
        assert min(came[1] - came[0], came[2] - came[1]) >= 0.19
    assert sum(thread.name == "tfs-client-timers" for thread in threading.enumerate()) == 1


def test_cancelling_in_a_pause_ends_it_and_frees_what_it_held(retrying):
    client, refusing = retrying(9, 60)
    future = client.predict_future({"x": np.float32([1.0])})
    pauses, there = client._performer._session.pauses, weakref.ref(future)
    assert eventually(lambda: pauses._under_way)
    assert future.cancel()
    assert future.cancelled()
    assert wait([future], 10).done == {future}
    assert not pauses._under_way
    del future
    assert eventually(lambda: there() is None)
    assert len(refusing.came[""]) == 1


def test_cancelling_around_the_end_of_a_pause_leaves_every_future_in_one_state(retrying):
    client, _ = retrying(1, 0.01)
    for n in range(60):
        future = client.predict_future({"x": np.float32([1.0])}, metadata={"x-call": str(n)})
        time.sleep(0.0005 * (n % 40))
        if future.cancel():
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(10)
        else:
            assert future.result(10).array.tolist() == [2.0]
    assert eventually(lambda: not client._performer._session.pauses._under_way)


def test_closing_the_client_ends_pauses_at_once(retrying):
    client, refusing = retrying(9, 60)
    futures = [client.predict_future({"x": np.float32([1.0])}, metadata={"x-call": str(n)}) for n in range(5)]
    assert eventually(lambda: len(client._performer._session.pauses._under_way) == 5)
    client.close()
    for future in futures:
        with pytest.raises(ClosedError, match="was closed"):
            future.result(10)
    assert {len(came) for came in refusing.came.values()} == {1}


def test_a_slow_callback_does_not_delay_the_pauses_of_others(retrying):
    """Both futures end in a pause, in the thread that watches the clock."""
    client, _ = retrying(9, 60)
    entered, going_on = threading.Event(), threading.Event()

    def linger(future):
        entered.set()
        assert going_on.wait(20)

    slow = client.predict_future({"x": np.float32([1.0])}, timeout=0.3)
    slow.add_done_callback(linger)
    quick = client.predict_future({"x": np.float32([1.0])}, timeout=0.5)
    assert entered.wait(20)
    assert isinstance(quick.exception(20), DeadlineExceededError)
    going_on.set()
    assert isinstance(slow.exception(20), DeadlineExceededError)


def test_a_program_ends_while_a_future_is_in_a_pause():
    program = """
import threading, time
from tfs_client import PredictClient, RetryPolicy

client = PredictClient("127.0.0.1:1", model="m", timeout=None, retry=RetryPolicy())
future = client.predict_future({"x": [1.0]})
while not any(thread.name == "tfs-client-timers" for thread in threading.enumerate()):
    time.sleep(0.01)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
