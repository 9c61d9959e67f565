"""The values passed are the values sent, although the caller refills its arrays as soon as it may.

A relay holds back everything that calls send, requests for signatures included, until the caller has done so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from calling import PATIENCE, STYLES, Awaited, calling, target_of

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    MicroBatcher,
    PredictClient,
    RetryPolicy,
    TensorSpec,
)
from tfs_client.errors import EncodeError, UnavailableError
from tfs_client.server.embedded import MODELS
from tfs_client.testing import FakeServer

GOING_ON = tuple(style for style in STYLES if style.endswith(("futures", "aio")))  # the caller goes on meanwhile
ROWS = TensorSpec("float32", (None, 2))
TEXT = TensorSpec("string", (None,))
WRONG = -9.0
GONE = b"gone"


class Relay:
    """Passes bytes on to a server and back; from the client to the server only while ``open`` is set."""

    def __init__(self, target):
        self.open = threading.Event()
        self.open.set()
        self._to = target.removeprefix("http://").split(":")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets, self._threads = [], [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.target = target.replace(self._to[1], str(self._server.getsockname()[1]))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._to)
                self._sockets += [near, far]
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start, end, gate in ((near, far, self.open), (far, near, None)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=(start, end, gate)))
                    self._threads[-1].start()

    def _pass_on(self, start, end, gate):
        with contextlib.suppress(OSError):
            while data := start.recv(1 << 16):
                if gate is not None:
                    assert gate.wait(PATIENCE)
                end.sendall(data)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_WR)

    def close(self):
        self.open.set()
        for one in (self._server, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for one in (self._server, *self._sockets):
            one.close()


@pytest.fixture(scope="module")
def server():
    def ragged(x):
        return {"y": 2 * x, "other": np.zeros(len(x) + 1, np.float32)}  # which rows cannot carry

    with FakeServer() as server:
        server.add_model("m", lambda x: 2 * x, inputs={"x": ROWS}, outputs={"y": ROWS})
        server.add_model(
            "scaled", lambda x, k: k * x, inputs={"x": ROWS, "k": TensorSpec("float32", ())}, outputs={"y": ROWS}
        )
        server.add_model("echo", lambda x: x, inputs={"x": TEXT}, outputs={"y": TEXT})
        other = TensorSpec("float32", (None,))
        server.add_model("ragged", ragged, inputs={"x": ROWS}, outputs={"y": ROWS, "other": other})
        server.server.add_model("half_plus_two", MODELS["half_plus_two"]())
        yield server


@pytest.fixture
def relayed(server):
    """``relayed(style)``: a relay in front of the server."""
    with contextlib.ExitStack() as stack:

        def start(style, to=server):
            relay = Relay(target_of(style, to))
            stack.callback(relay.close)
            return relay

        yield start


def begun(client, method, *args, **options):
    """Begin a call without blocking and return its future. With asyncio the task has first run by then."""
    if not isinstance(client, Awaited):
        return client.client.predict_future(*args, **options)
    future = Future()

    async def begin():
        task = asyncio.ensure_future(getattr(client.client, method)(*args, **options))
        task.add_done_callback(
            lambda task: (
                future.set_exception(task.exception()) if task.exception() else future.set_result(task.result())
            )
        )
        await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(begin(), client._loop).result(PATIENCE)
    return future


class ArrayLike:
    """An object of another library, which shares its memory."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def array():
    x = np.float32([[1, 2]])
    return x, lambda: x.fill(WRONG)


def strided():
    x = np.float32([[1, 0, 2, 0]])
    return x[:, ::2], lambda: x.fill(WRONG)


def array_like():
    x, refill = array()
    return ArrayLike(x), refill


def nested_list():
    x = [[1.0, 2.0]]
    return x, lambda: x[0].__setitem__(slice(None), [WRONG, WRONG])


def list_of_scalars():
    x = [[np.int32(1), 2.0]]
    return x, lambda: x[0].__setitem__(slice(None), [WRONG, WRONG])


def strings():
    x = np.array(["a", b"b"], object)
    return x, lambda: x.fill(GONE)


def list_of_strings():
    x = ["a", b"b"]
    return x, lambda: x.__setitem__(slice(None), [GONE, GONE])


NUMBERS = (array, strided, array_like, nested_list)
VALUES = (*NUMBERS, strings, list_of_strings)


def expected_of(values):
    return ("echo", [b"a", b"b"]) if values in (strings, list_of_strings) else ("m", [[2, 4]])


@pytest.mark.parametrize("options", [{}, {"validate": True}, {"cast": True}], ids=["plain", "validate", "cast"])
@pytest.mark.parametrize(
    ("values", "named"),  # by name a list of numpy's scalars keeps their dtype, here a wrong one
    [*((values, named) for values in VALUES for named in (True, False)), (list_of_scalars, False)],
    ids=lambda value: value.__name__ if callable(value) else "by name" if value else "bare",
)
@pytest.mark.parametrize("style", GOING_ON)
def test_inputs_may_be_changed_once_the_call_has_returned(relayed, style, values, named, options):
    relay, (given, refill) = relayed(style), values()
    model, expected = expected_of(values)
    with calling(style, relay.target, model=model, timeout=PATIENCE, **options) as client:
        relay.open.clear()
        inputs = {"x": given} if named else given
        future = begun(client, "predict", inputs)
        refill()
        if named:
            inputs["x"] = None  # so may the mapping
        relay.open.set()
        assert future.result(PATIENCE).array.tolist() == expected


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", GOING_ON)
def test_inputs_may_be_changed_while_the_token_is_awaited(relayed, style, named):
    relay, (given, refill) = relayed(style), array()
    aio = style.endswith("aio")

    async def slow():
        await asyncio.to_thread(relay.open.wait, PATIENCE)
        return "token"

    token = slow if aio else lambda: "token"
    with calling(style, relay.target, model="m", timeout=PATIENCE, token=token) as client:
        relay.open.clear()
        future = begun(client, "predict", {"x": given} if named else given)
        refill()
        relay.open.set()
        assert future.result(PATIENCE).array.tolist() == [[2, 4]]


@pytest.mark.parametrize("style", [style for style in GOING_ON if style.startswith("rest")])
def test_a_request_rewritten_in_another_form_has_the_same_values(relayed, style):
    relay, (given, refill) = relayed(style), array()
    with calling(style, relay.target, model="ragged", timeout=PATIENCE) as client:
        client.signatures()  # so that the first request is written at once
        relay.open.clear()
        future = begun(client, "predict", {"x": given})
        refill()
        relay.open.set()
        assert future.result(PATIENCE)["y"].tolist() == [[2, 4]]


@pytest.mark.parametrize("style", GOING_ON)
def test_a_bare_value_resent_with_fresh_signatures_is_unchanged(relayed, style):
    with FakeServer() as server:
        server.add_model("m", lambda x: 2 * x, inputs={"x": ROWS}, outputs={"y": ROWS})
        relay, (given, refill) = relayed(style, server), array()
        with calling(style, relay.target, model="m", timeout=PATIENCE) as client:
            assert client.predict(np.float32([[0, 1]])).array.tolist() == [[0, 2]]
            server.add_model("m", lambda z: 3 * z, inputs={"z": ROWS}, outputs={"y": ROWS}, version=2)
            relay.open.clear()
            future = begun(client, "predict", given)
            refill()
            relay.open.set()
            assert future.result(PATIENCE).array.tolist() == [[3, 6]]


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", GOING_ON)
def test_another_attempt_sends_the_same(relayed, style, named):
    attempts = []

    def reluctant(x):
        attempts.append(x.tolist())
        if len(attempts) < 3:
            raise UnavailableError("not yet")
        return 2 * x

    with FakeServer() as server:
        server.add_model("m", reluctant, inputs={"x": ROWS}, outputs={"y": ROWS})
        relay, (given, refill) = relayed(style, server), array()
        policy = RetryPolicy(initial_backoff=0.005, max_backoff=0.005)
        with calling(style, relay.target, model="m", timeout=PATIENCE, retry=policy) as client:
            relay.open.clear()
            future = begun(client, "predict", {"x": given} if named else given)
            refill()
            relay.open.set()
            assert future.result(PATIENCE).array.tolist() == [[2, 4]]
    assert attempts == [[[1, 2]]] * 3


@pytest.mark.parametrize("style", GOING_ON)
def test_the_hint_of_a_refusal_describes_the_sent_values(relayed, style):
    relay = relayed(style)
    with calling(style, relay.target, model="m", timeout=PATIENCE) as client:
        relay.open.clear()
        inputs = {"X": np.float32([[1, 2]])}
        future = begun(client, "predict", inputs)
        inputs["x"] = inputs.pop("X")
        relay.open.set()
        error = future.exception(PATIENCE)
    assert "'X' is not an input, but 'x' is" in error.hint


@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
def test_the_coroutine_of_predict_future_has_a_copy(server, style):
    async def main():
        given, refill = array()
        async with AsyncPredictClient(target_of(style, server), model="m", timeout=PATIENCE) as client:
            coroutines = [client.predict_future(values) for values in ({"x": given}, given)]
            refill()
            return [(await coroutine).array.tolist() for coroutine in coroutines]

    assert asyncio.run(main()) == [[[2, 4]]] * 2


@pytest.mark.parametrize("token", [False, True], ids=["no token", "a token is awaited"])
@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
def test_examples_and_tasks_may_be_changed_once_the_task_has_run(relayed, style, token):
    relay = relayed(style)

    async def slow():
        await asyncio.to_thread(relay.open.wait, PATIENCE)
        return "token"

    rows = [{"x": [2.0]}]
    tasks = {"regress_x_to_y": "regress"}
    options = {"token": slow} if token else {}
    with calling(style, relay.target, model="half_plus_two", timeout=PATIENCE, **options) as client:
        relay.open.clear()
        futures = [begun(client, "regress", rows, signature="regress_x_to_y")]
        if style.startswith("grpc"):
            futures.append(begun(client, "multi_inference", rows, tasks=tasks))
        rows[0]["x"][0] = WRONG
        tasks.clear()
        relay.open.set()
        assert futures[0].result(PATIENCE).values == (3.0,)
        if style.startswith("grpc"):
            assert futures[1].result(PATIENCE)["regress_x_to_y"].values == (3.0,)


# --- batches ----------------------------------------------------------------------------------------------------------

BATCHING = tuple(style for style in STYLES if not style.endswith("futures"))


def collected(client, examples, **options):
    """All results of predict_many."""
    if not isinstance(client, Awaited):
        return list(client.predict_many(examples, **options))

    async def collect():
        return [result async for result in client.client.predict_many(examples, **options)]

    return asyncio.run_coroutine_threadsafe(collect(), client._loop).result(PATIENCE)


def refilled(count, named, kind):
    """Examples that are all in the same memory."""
    buffer = {"array": lambda: np.zeros(2, np.float32), "list": lambda: [0.0, 0.0]}[kind]()
    for number in range(count):
        buffer[:] = [number, number + 0.5]
        yield {"x": buffer} if named else buffer
    buffer[:] = [WRONG, WRONG]


async def awaited(examples):
    for example in examples:
        await asyncio.sleep(0)
        yield example


@pytest.mark.parametrize("max_delay", [None, 0.01])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", ["array", "list"])
@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", BATCHING)
def test_a_source_may_reuse_one_example(server, style, named, kind, ordered, max_delay):
    with calling(style, server, model="m", timeout=PATIENCE) as client:
        sources = [refilled(11, named, kind)]
        if style.endswith("aio"):
            sources.append(awaited(refilled(11, named, kind)))
        for source in sources:
            found = collected(client, source, batch_size=4, in_flight=2, ordered=ordered, max_delay=max_delay)
            assert sorted(p["y"].tolist() for p in found) == [[2 * n, 2 * n + 1] for n in range(11)]


@pytest.mark.parametrize("style", BATCHING)
def test_a_source_may_reuse_one_example_with_strings(server, style):
    def words():
        buffer = np.empty((), object)
        for number in range(6):
            buffer[...] = b"%d" % number
            yield {"x": buffer}
        buffer[...] = GONE

    with calling(style, server, model="echo", timeout=PATIENCE) as client:
        found = collected(client, words(), batch_size=4)
    assert [p["y"].item() for p in found] == [b"%d" % number for number in range(6)]


@pytest.mark.parametrize("style", BATCHING)
def test_shared_inputs_and_metadata_are_those_of_the_call(server, style):
    k, metadata = np.full((), 3, np.float32), {"x-who": "me"}
    with calling(style, server, model="scaled", timeout=PATIENCE) as client:

        def source():
            for number in range(4):
                k.fill(WRONG)
                metadata["X BAD"] = "a name that cannot be sent"
                yield {"x": np.full(2, number, np.float32)}

        found = collected(client, source(), batch_size=2, shared={"k": k}, metadata=metadata)
    assert [p["y"][0] for p in found] == [0, 3, 6, 9]


@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
@pytest.mark.parametrize("values", NUMBERS)
@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
def test_the_rows_of_a_task_may_be_changed_once_it_has_run(relayed, style, values, named):
    relay, (given, refill) = relayed(style), values()
    with calling(style, relay.target, model="m", timeout=PATIENCE) as client:
        relay.open.clear()
        future = begun(client, "predict_batched", {"x": given} if named else given, batch_size=1, in_flight=1)
        refill()
        relay.open.set()
        assert future.result(PATIENCE).array.tolist() == [[2, 4]]


def frames():
    """A buffer, and the examples of a caller that fills it again and again."""
    buffer = np.zeros(2, np.float32)
    for number in range(3):
        buffer[:] = number
        yield buffer
    buffer[:] = WRONG


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_an_example_may_be_changed_once_it_is_submitted(server, style, named):
    with (
        PredictClient(target_of(style, server), model="m", timeout=PATIENCE) as client,
        MicroBatcher(client, max_batch_size=2, max_delay=0.05) as batcher,
    ):
        futures = [batcher.submit({"x": frame} if named else frame) for frame in frames()]
        assert [future.result(PATIENCE)["y"].tolist() for future in futures] == [[0, 0], [2, 2], [4, 4]]


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_an_example_may_be_changed_once_it_is_submitted_in_an_event_loop(server, style, named):
    async def main():
        async with (
            AsyncPredictClient(target_of(style, server), model="m", timeout=PATIENCE) as client,
            AsyncMicroBatcher(client, max_batch_size=2, max_delay=0.05) as batcher,
        ):
            submitted = [batcher.submit({"x": frame} if named else frame) for frame in frames()]
            tasks = []
            for frame in frames():
                tasks.append(asyncio.ensure_future(batcher.predict({"x": frame} if named else frame)))
                await asyncio.sleep(0)
            return [(await future)["y"].tolist() for future in (*submitted, *tasks)]

    assert asyncio.run(main()) == [[0, 0], [2, 2], [4, 4]] * 2


def test_a_batcher_copies_its_shared_inputs_and_metadata(server):
    k, metadata = np.full((), 3, np.float32), {"x-who": "me"}
    with (
        PredictClient(server.target, model="scaled", timeout=PATIENCE) as client,
        MicroBatcher(client, shared={"k": k}, metadata=metadata) as batcher,
    ):
        k.fill(WRONG)
        metadata["X BAD"] = "a name that cannot be sent"
        assert batcher.predict({"x": np.float32([1, 2])})["y"].tolist() == [3, 6]


# --- a row at fault ---------------------------------------------------------------------------------------------------


class Broken:
    """Converting it raises an unexpected error."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("it needs grad"), MemoryError(), KeyError("x")], ids=repr)
@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("style", BATCHING)
def test_an_example_whose_conversion_raises_fails_alone(server, style, named, error):
    examples = [np.float32([1, 2]), Broken(error), np.float32([3, 4])]
    examples = [{"x": example} for example in examples] if named else examples
    with calling(style, server, model="m", timeout=PATIENCE) as client:
        first, broken, last = collected(client, examples, batch_size=3, on_error="return")
    assert [first["y"].tolist(), last["y"].tolist()] == [[2, 4], [6, 8]]
    assert isinstance(broken, EncodeError)
    assert broken.__cause__ is error
    assert broken.example == 1


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_a_batcher_refuses_an_example_whose_conversion_raises_and_answers_the_others(server, style):
    with (
        PredictClient(target_of(style, server), model="m", timeout=PATIENCE) as client,
        MicroBatcher(client, max_batch_size=2, max_delay=3600.0) as batcher,
    ):
        first = batcher.submit({"x": np.float32([1, 2])})
        with pytest.raises(EncodeError, match=r"input 'x': .*\(RuntimeError: it needs grad\)"):
            batcher.submit({"x": Broken(RuntimeError("it needs grad"))})
        last = batcher.submit({"x": np.float32([3, 4])})
        assert [one.result(PATIENCE)["y"].tolist() for one in (first, last)] == [[2, 4], [6, 8]]


@pytest.mark.parametrize("style", BATCHING)
def test_python_integers_and_floats_share_requests(server, style):
    server.clear_calls()
    with calling(style, server, model="m", timeout=PATIENCE) as client:
        found = collected(client, [[1, 2], [0.5, 1.5], [3, 4]], batch_size=3)
    assert [p["y"].tolist() for p in found] == [[2, 4], [1, 3], [6, 8]]
    assert sum(call.method == "Predict" for call in server.calls) == 1
