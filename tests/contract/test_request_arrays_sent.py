"""Predictions with arrays that lie in the request: what the server receives, for every way of calling."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest
from calling import STYLES, Awaited, calling

from tfs_client import (
    AsyncPredictClient,
    CallError,
    EncodeError,
    PredictClient,
    RetryPolicy,
    SignatureError,
    TensorSpec,
)
from tfs_client.testing import FakeServer

X, Y = TensorSpec("float32", (None, 3)), TensorSpec("uint8", (None,))
PATIENCE = 20


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        server.add_model("m", lambda x, n: {"x": x, "n": n}, inputs={"x": X, "n": Y}, outputs={"x": X, "n": Y})
        yield server


@pytest.fixture(params=STYLES)
def client(request, server):
    with calling(request.param, server, model="m", timeout=PATIENCE) as client:
        yield client


def test_every_call_sends_what_the_arrays_hold(client):
    batch = client.empty(rows=2)
    assert {alias: (array.dtype, array.shape) for alias, array in batch.items()} == {
        "x": (np.float32, (2, 3)),
        "n": (np.uint8, (2,)),
    }
    for number in range(4):
        batch["x"][:] = number
        batch["n"][:] = number + 1
        found = client.predict(batch)
        assert found["x"].tolist() == [[number] * 3] * 2
        assert found["n"].tolist() == [number + 1] * 2


def test_arrays_of_stated_shapes(client):
    batch = client.empty({"x": ((1, 3), np.float32), "n": TensorSpec("uint8", (None,))}, rows=1)
    batch["x"][:] = [[1, 2, 3]]
    batch["n"][:] = 255
    found = client.predict(batch, validate=True)
    assert (found["x"].tolist(), found["n"].tolist()) == ([[1, 2, 3]], [255])


def test_changed_entries_and_other_calls_are_sent_right(client):
    batch = client.empty(rows=1)
    batch["x"] = np.array([[4, 5, 6]], np.float32)
    batch["n"][:] = 7
    assert client.predict(batch)["x"].tolist() == [[4, 5, 6]]
    assert client.predict(batch, outputs=["n"])["n"].tolist() == [7]
    with pytest.raises(CallError, match="missing"):
        client.predict(batch, model="missing")


def test_calls_in_flight_keep_what_their_arrays_held(server):
    """gRPC has copied a request when the call has started."""
    for compression in (None, "gzip"):
        with PredictClient(server.target, model="m", timeout=PATIENCE, compression=compression) as client:
            batch = client.empty(rows=3000)
            futures = []
            for number in range(20):
                batch["x"][:] = number
                futures.append(client.predict_future(batch))
            for number, future in enumerate(futures):
                assert (future.result(PATIENCE)["x"] == number).all()


def test_a_call_before_there_is_a_connection_keeps_them_too(server):
    with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
        batch = client.empty({"x": ((2, 3), "float32"), "n": ((2,), "uint8")})
        batch["x"][:] = 1
        future = client.predict_future(batch)
        batch["x"][:] = 2
        assert (future.result(PATIENCE)["x"] == 1).all()


def test_arrays_cannot_be_written_to_while_an_asyncio_call_is_under_way(server):
    async def main():
        async with AsyncPredictClient(server.target, model="m", timeout=PATIENCE) as client:
            batch = await client.empty(rows=2)
            batch["x"][:] = 1
            calls = [asyncio.ensure_future(client.predict(batch)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(ValueError, match="read-only"):
                batch["x"][:] = 2
            for found in await asyncio.gather(*calls):
                assert (found["x"] == 1).all()
            batch["x"][:] = 2
            assert ((await client.predict(batch))["x"] == 2).all()
            lost = asyncio.ensure_future(client.predict(batch))
            await asyncio.sleep(0)
            lost.cancel()
            await asyncio.wait([lost])
            batch["x"][:] = 3

    asyncio.run(main())


def flaky(reply_after, seen):
    """A handler that is unavailable at first; ``reply_after`` is waited for before it says so."""
    calls = []

    def handler(request, context):
        calls.append(request)
        seen.append(request)
        if len(calls) == 1:
            assert reply_after.wait(PATIENCE)
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b""

    return handler


@pytest.mark.parametrize("given", ["client", "call"])
@pytest.mark.parametrize("style", ["grpc-futures", "grpc-aio"])
def test_a_later_attempt_sends_what_the_first_one_sent(raw_server, style, given):
    refilled, seen = threading.Event(), []
    target = raw_server(Predict=flaky(refilled, seen))
    retry = {"retry": RetryPolicy(attempts=2, initial_backoff=0.01)}
    own, options = ({}, retry) if given == "client" else (retry, {})
    with calling(style, target, model="m", timeout=PATIENCE, **options) as client:
        batch = client.empty({"x": ((2, 3), "float32")})
        batch["x"][:] = 1
        if isinstance(client, Awaited):
            future = asyncio.run_coroutine_threadsafe(client.client.predict(batch, **own), client._loop)
        else:
            future = client.client.predict_future(batch, **own)
        while not seen:
            threading.Event().wait(0.001)
        batch["x"][:] = 2
        refilled.set()
        future.result(PATIENCE)
    first, second = seen
    assert first == second
    assert np.float32(1).tobytes() * 6 in first


def test_a_blocking_call_is_made_again_as_it_was(raw_server):
    refilled, seen = threading.Event(), []
    refilled.set()
    target = raw_server(Predict=flaky(refilled, seen))
    with PredictClient(target, model="m", timeout=PATIENCE, retry=RetryPolicy(initial_backoff=0.01)) as client:
        batch = client.empty({"x": ((2, 3), "float32")})
        batch["x"][:] = 1
        client.predict(batch)
    assert seen[0] == seen[1]


def test_a_token_function_may_refill_the_arrays(server):
    with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
        batch = client.empty(rows=1)
        batch["x"][:] = 1

        def token():
            batch["x"][:] = 2
            return "secret"

        assert (client.predict_future(batch, token=token).result(PATIENCE)["x"] == 1).all()


def test_interceptors_may_keep_requests(server):
    kept = []

    class Keeps(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            kept.append(request)
            return continuation(details, request)

    with PredictClient(server.target, model="m", timeout=PATIENCE, interceptors=[Keeps()]) as client:
        batch = client.empty({"x": ((1, 3), "float32"), "n": ((1,), "uint8")})
        for number in (1, 2):
            batch["x"][:] = number
            client.predict(batch)
    assert [np.float32(number).tobytes() * 3 in request for number, request in zip((1, 2), kept, strict=True)] == [
        True
    ] * 2


def test_recordings_hold_what_was_sent(server, tmp_path):
    path = tmp_path / "calls.tfrecord"
    with PredictClient(server.target, model="m", timeout=PATIENCE, record=path) as client:
        batch = client.empty(rows=1)
        for number in (1, 2):
            batch["x"][:] = number
            client.predict(batch)
    with PredictClient(server.target, model="m", timeout=PATIENCE, record=path) as client:
        for number in (1, 2):
            rows = {"x": np.full((1, 3), number, np.float32), "n": np.zeros(1, np.uint8)}
            assert (client.predict(rows)["x"] == number).all()


@pytest.mark.parametrize(
    ("inputs", "rows", "error", "text"),
    [
        (None, None, SignatureError, r"input '.' expects .*, which does not state the number of rows: pass rows="),
        (None, -1, EncodeError, "expected rows= as a number of rows, got -1"),
        (None, True, EncodeError, "expected rows= as a number of rows, got True"),
        ([1], None, EncodeError, "expected a mapping from input alias"),
        ({1: ((2,), "float32")}, None, EncodeError, "expected the name of an input as text, got 1"),
        ({"x": (2, 3)}, None, EncodeError, r"input 'x': expected a shape as a tuple of sizes, got 2"),
        ({"x": ((None, 4), "int8")}, 3, EncodeError, r"got \(None, 4\); use TensorSpec for open sizes"),
        ({"x": (2, 3, 4)}, None, EncodeError, r"input 'x': expected a pair of shape and dtype"),
        ({"x": ((2, -1), "int8")}, None, EncodeError, "without negative sizes"),
        ({"x": ((2,), "datetime64[s]")}, None, EncodeError, "input 'x': numpy dtype datetime64"),
        ({"x": ((2,), "resource")}, None, EncodeError, "input 'x': "),
        ({"x": ((2,), "int8")}, 2, EncodeError, "expected rows= only"),
        ({"x": TensorSpec("float32", (None, None))}, 2, SignatureError, "which does not state every size"),
        ({"x": TensorSpec("float32")}, 2, SignatureError, "which does not state every size"),
        ({"x": TensorSpec("float32", (4, 3))}, 2, SignatureError, "expected rows=4, got rows=2"),
    ],
)
def test_shapes_that_cannot_be_made(server, inputs, rows, error, text):
    with (
        PredictClient(server.target, model="m", timeout=PATIENCE) as client,
        pytest.raises(error, match=text),
    ):
        client.empty(inputs, rows=rows)
