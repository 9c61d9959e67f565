"""AsyncPredictClient: what is asyncio's own. What all clients have in common is in tests/contract."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
import time

import numpy as np
import pytest
from calling import target_of

from tfs_client import AsyncPredictClient, ClosedError, DeadlineExceededError, PredictClient, TensorSpec


@pytest.fixture(params=["grpc", "rest"])
def target(request, double):
    return target_of(request.param, double)


def test_it_has_the_names_and_arguments_of_the_blocking_client():
    def methods_of(cls):
        return {name: method for name, method in vars(cls).items() if not name.startswith("_") and callable(method)}

    blocking, awaited = methods_of(PredictClient), methods_of(AsyncPredictClient)
    assert set(blocking) == set(awaited)
    for name in blocking:
        ours, theirs = (dict(inspect.signature(methods[name]).parameters) for methods in (blocking, awaited))
        if name == "predict_future":
            continue
        if name == "predict_many":  # its examples may be an asynchronous iterable too, and it returns an iterator
            assert (ours.pop("examples").name, theirs.pop("examples").name) == ("examples", "examples")
        elif name != "with_options":  # it makes no call
            assert inspect.iscoroutinefunction(awaited[name])
        assert ours == theirs, name
    assert inspect.signature(PredictClient).parameters == inspect.signature(AsyncPredictClient).parameters


def test_no_loop_is_needed_to_make_one_and_each_loop_gets_its_connection(target):
    client = AsyncPredictClient(target, model="double")
    for value in (1.0, 2.0):
        assert asyncio.run(client.predict({"x": [value]})).array.tolist() == [2 * value]
    asyncio.run(client.close())


def test_calls_run_side_by_side(target):
    async def main():
        async with AsyncPredictClient(target, model="double", timeout=20) as client:
            return await asyncio.gather(*(client.predict({"x": [float(n)]}) for n in range(50)))

    assert [found.array[0] for found in asyncio.run(main())] == [2.0 * n for n in range(50)]


def test_a_future_is_a_plain_coroutine(target):
    async def main():
        async with AsyncPredictClient(target, model="double") as client:
            future = client.predict_future([1.0], timeout=5)
            assert asyncio.iscoroutine(future)
            return await future

    assert asyncio.run(main()).array.tolist() == [2.0]


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_cancelling_the_task_cancels_the_call(way, gated, gate):
    async def main():
        async with AsyncPredictClient(target_of(way, gated), model="slow", timeout=20) as client:
            await client.signatures()
            call = asyncio.create_task(client.predict({"x": [1.0]}))
            assert await asyncio.to_thread(gate.entered.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            gate.open.set()
            assert (await client.predict({"x": [5.0]})).array.tolist() == [5.0]  # the client goes on

    asyncio.run(main())


def test_a_cancellation_reaches_the_server(raw_server):
    entered, gone = threading.Event(), threading.Event()

    def wait_until_gone(request, context):
        context.add_callback(gone.set)
        entered.set()
        gone.wait(20)
        return b""

    async def main():
        async with AsyncPredictClient(raw_server(Predict=wait_until_gone), model="m", timeout=20) as client:
            call = asyncio.create_task(client.predict({"x": [1.0]}))
            assert await asyncio.to_thread(entered.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(gone.wait, 10)

    asyncio.run(main())


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_a_deadline_is_exact(way, gated):
    async def main():
        async with AsyncPredictClient(target_of(way, gated), model="slow", timeout=0.3) as client:
            started = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=r"within 0.3 s; timeout= sets another limit"):
                await client.predict({"x": [1.0]})
            assert 0.2 < time.monotonic() - started < 5

    asyncio.run(main())


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_closing_ends_calls_and_may_be_repeated(way, gated, gate):
    async def main():
        client = AsyncPredictClient(target_of(way, gated), model="slow", timeout=20)
        await client.signatures()
        call = asyncio.create_task(client.predict({"x": [1.0]}))
        assert await asyncio.to_thread(gate.entered.wait, 10)
        await client.close()
        await client.close()
        with pytest.raises(ClosedError, match="was closed during Predict"):
            await call
        with pytest.raises(ClosedError, match="was closed"):
            await client.predict({"x": [1.0]})

    asyncio.run(main())


def test_a_forgotten_client_warns(target):
    client = AsyncPredictClient(target, model="double")
    with pytest.warns(ResourceWarning, match="unclosed AsyncPredictClient"):
        del client


def test_it_is_pickled_by_its_configuration(target):
    client = AsyncPredictClient(target, model="double", metadata={"who": "me"})
    same = pickle.loads(pickle.dumps(client))
    assert repr(same) == repr(client)
    assert asyncio.run(same.predict([1.0])).array.tolist() == [2.0]
    for one in (client, same):
        asyncio.run(one.close())


def test_waiting_lets_other_tasks_run(fake_server):
    vector = TensorSpec("float32", (None,))

    async def first_lookup():
        while not fake_server.lookups:
            await asyncio.sleep(0.01)

    async def main():
        async with AsyncPredictClient(fake_server.target, model="late") as client:
            waiting = asyncio.create_task(client.wait_until_ready(20))
            await asyncio.wait_for(first_lookup(), 20)
            fake_server.add_model("late", lambda x: x, inputs={"x": vector}, outputs={"y": vector})
            await waiting
            return await client.predict({"x": np.float32([1])})

    assert asyncio.run(main()).array.tolist() == [1.0]
