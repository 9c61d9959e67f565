"""predict_many in an event loop: asynchronous sources, cancellation, and tasks left in the loop."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from batch_models import slow_server

from tfs_client import AsyncPredictClient

pytestmark = pytest.mark.parametrize("style", ["grpc", "rest"])


def example(number):
    return {"x": np.full((), number, np.float32)}


def client_of(server, style, model="picky"):
    return AsyncPredictClient(server.rest_url if style == "rest" else server.target, model=model)


def alone():
    """Whether no task but this one is left in the loop, apart from the one that holds a connection."""
    return asyncio.all_tasks() == {asyncio.current_task()}


class Source:
    """An asynchronous source that counts, and holds a time limit, which belongs to a task, while it yields."""

    def __init__(self, count):
        self.read = self.given = self.most = 0
        self._count = count

    async def __aiter__(self):
        task = asyncio.current_task()
        for number in range(self._count):
            await asyncio.sleep(0)
            assert asyncio.current_task() is task, "a task for each example"
            self.read += 1
            self.most = max(self.most, self.read - self.given)
            yield example(number)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("max_delay", [None, 0.001])
def test_an_asynchronous_source_is_read_by_one_task_and_not_too_far(models, style, ordered, max_delay):
    async def main():
        source, found = Source(40), []
        async with client_of(models, style) as client:
            async for result in client.predict_many(
                source, batch_size=4, in_flight=3, ordered=ordered, max_delay=max_delay
            ):
                source.given += 1
                found.append(float(result["y"]))
        assert sorted(found) == [2.0 * number for number in range(40)]
        assert ordered is False or found == sorted(found)
        assert source.most <= 12

    asyncio.run(main())


def test_a_partial_batch_is_sent_while_the_source_is_silent(models, style):
    async def main():
        waiting = asyncio.Queue()

        async def source():
            while (number := await waiting.get()) is not None:
                yield example(number)

        async with client_of(models, style) as client:
            results = client.predict_many(source(), batch_size=8, max_delay=0.02)
            for number in (1, 2, 3):
                waiting.put_nowait(number)
            assert [float((await anext(results))["y"]) for _ in range(3)] == [2, 4, 6]
            waiting.put_nowait(4)
            assert float((await anext(results))["y"]) == 8
            waiting.put_nowait(None)
            assert [result async for result in results] == []
            assert alone()

    asyncio.run(main())


def test_the_loop_runs_while_a_blocking_source_waits(models, style):
    go_on, threads = threading.Event(), set()

    def source():
        for number in range(6):
            threads.add(threading.current_thread())
            yield example(number)
            if number == 2:
                assert go_on.wait(20), "the loop stood still"

    async def main():
        found = []

        async def consume(client):
            async for result in client.predict_many(source(), batch_size=8, max_delay=0.01):
                found.append(float(result["y"]))
                if len(found) == 3:
                    go_on.set()

        async with client_of(models, style) as client:
            await consume(client)
            assert found == [0, 2, 4, 6, 8, 10]
            assert alone()
        assert len(threads) == 1
        assert threading.current_thread() not in threads

    asyncio.run(main())


def test_a_loop_may_end_while_a_blocking_source_waits(models, style):
    go_on = threading.Event()

    def source():
        yield example(1)
        assert go_on.wait(20)
        yield example(2)

    async def main():
        async with client_of(models, style) as client:
            results = client.predict_many(source(), max_delay=0.001)
            assert float((await anext(results))["y"]) == 2
            await results.aclose()
            assert alone()

    asyncio.run(main())
    go_on.set()  # its thread ends with it; the fixture waits for that


@pytest.mark.parametrize("silent", [True, False], ids=["silent source", "busy source"])
def test_closing_early_leaves_no_task(models, style, silent):
    async def main():
        ended = asyncio.Event()

        async def source():
            try:
                for number in range(1000):
                    yield example(number)
                    if silent and number >= 3:
                        await asyncio.Event().wait()
            finally:
                ended.set()

        async with client_of(models, style) as client:
            results = client.predict_many(source(), batch_size=4, in_flight=3)
            await anext(results)
            await results.aclose()
            assert alone()
            if silent:
                assert ended.is_set()

    asyncio.run(main())


def test_cancelling_the_consumer_cancels_its_requests(style):
    entered, let_go = threading.Event(), threading.Event()

    def model(x):
        entered.set()
        assert let_go.wait(20)
        return x

    async def main(server):
        async def consume(client):
            async for _ in client.predict_many(Source(100), batch_size=4, in_flight=3):
                raise AssertionError("nothing can have come")

        async with client_of(server, style, "m") as client:
            task = asyncio.ensure_future(consume(client))
            await asyncio.to_thread(entered.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            let_go.set()
            assert alone()

    with slow_server(model) as server:
        asyncio.run(main(server))


def test_a_cancelled_task_stops_even_if_an_answer_arrives_at_the_same_time(models, style):
    """Before Python 3.12, ``asyncio.wait_for`` may lose the cancellation."""

    async def main():
        async with client_of(models, style) as client:
            for _ in range(5):
                task = asyncio.ensure_future(
                    client.predict_batched({"x": np.zeros(400, np.float32)}, batch_size=1, in_flight=4)
                )
                await asyncio.sleep(0.004)
                assert not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())


def test_an_error_of_the_source_comes_after_the_results_before_it(models, style):
    async def source():
        for number in range(5):
            yield example(number)
        raise OSError("the disk is gone")

    async def main():
        found = []

        async def consume(client):
            async for result in client.predict_many(source(), batch_size=4):
                found.append(float(result["y"]))

        async with client_of(models, style) as client:
            with pytest.raises(OSError, match="the disk is gone"):
                await consume(client)
            assert alone()
        assert found == [0, 2, 4, 6, 8]

    asyncio.run(main())
