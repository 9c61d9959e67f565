"""AsyncMicroBatcher: calls from many tasks share requests, but not errors, timeouts or cancellations."""

from __future__ import annotations

import asyncio
import pickle
import random

import numpy as np
import pytest
from batch_models import BAD, slow_server

from tfs_client import AsyncMicroBatcher, AsyncPredictClient, PredictClient, RetryPolicy
from tfs_client.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    EncodeError,
    InvalidArgumentError,
)

LONG = 3600.0  # seconds: no request is due before it is full
PATIENCE = 20


def example(number, shape=()):
    return {"x": np.full(shape, number, np.float32)}


def value(prediction):
    return float(prediction["y"].flat[0])


def predicts(server):
    return [call for call in server.calls if call.method == "Predict"]


@pytest.fixture(params=["grpc", "rest"])
def run(request, models):
    """A function that runs ``main(batcher)`` in a loop, with a batcher of the model "picky"."""
    models.clear_calls()
    target = models.rest_url if request.param == "rest" else models.target

    def run(main, **options):
        async def within():
            async with AsyncPredictClient(target, model="picky", timeout=PATIENCE) as client:
                async with AsyncMicroBatcher(client, **options) as batcher:
                    await main(batcher)
                assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(within())

    return run


@pytest.fixture
def gated_run(gate):
    """The same with a model that waits at the gate; ``main(batcher, client, server)``."""

    def run(main, **options):
        async def within(server):
            async with (
                AsyncPredictClient(server.target, model="m", timeout=PATIENCE) as client,
                AsyncMicroBatcher(client, **options) as batcher,
            ):
                await main(batcher, client, server)

        with slow_server(gate) as server:
            asyncio.run(within(server))

    return run


async def entered(gate):
    assert await asyncio.to_thread(gate.entered.wait, PATIENCE)


def test_concurrent_callers_share_few_requests(run, models):
    async def main(batcher):
        found = await asyncio.gather(*(batcher.predict(example(number, (3,))) for number in range(64)))
        assert [result["y"].tolist() for result in found] == [[2.0 * number] * 3 for number in range(64)]
        assert len(predicts(models)) == 4

    run(main, max_batch_size=16, max_delay=1.0)


def test_a_single_caller_waits_only_for_the_delay(run):
    async def main(batcher):
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert value(await batcher.predict(example(1))) == 2
        assert loop.time() - began >= 0.02

    run(main, max_delay=0.02)


def test_a_bad_example_fails_alone_and_shapes_are_sent_separately(run):
    async def main(batcher):
        calls = [batcher.submit(example(BAD if n == 3 else n, (n % 2,) if n % 2 else ())) for n in range(8)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found.pop(3), InvalidArgumentError)
        assert [value(result) for result in found] == [0, 2, 4, 8, 10, 12, 14]

    run(main, max_batch_size=4, max_delay=LONG)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_callers_learn_that_no_server_was_reached(scheme):
    async def main():
        async with (
            AsyncPredictClient(f"{scheme}127.0.0.1:9", model="m", timeout=0.1, retry=RetryPolicy()) as client,
            AsyncMicroBatcher(client) as batcher,
        ):
            with pytest.raises(DeadlineExceededError, match="no server was reached within") as caught:
                await batcher.predict(example(1))
            assert caught.value.unreached
            limits = [0.6, *(1.2 + at / 1000 for at in range(7))]  # far apart: a busy machine delays attempts
            calls = [batcher.predict(example(1), timeout=limit) for limit in limits]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert [(type(error), error.unreached) for error in errors] == [(DeadlineExceededError, True)] * 8

    asyncio.run(main())


def test_a_short_timeout_fails_only_its_caller(gated_run, gate):
    async def main(batcher, client, server):
        hasty = batcher.submit(example(1), timeout=0.1)
        patient = batcher.submit(example(2))
        await entered(gate)
        with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.1 s"):
            await hasty
        assert not patient.done()
        gate.open.set()
        assert value(await patient) == 2

    gated_run(main, max_batch_size=2, max_delay=LONG)


def test_a_call_cancelled_before_it_is_sent_never_reaches_the_server(run, models):
    async def main(batcher):
        first = asyncio.ensure_future(batcher.predict(example(1)))
        second = asyncio.ensure_future(batcher.predict(example(2)))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        third = batcher.submit(example(3))
        assert [value(await second), value(await third)] == [4, 6]
        (call,) = predicts(models)
        assert call.inputs["x"].tolist() == [2, 3]

    run(main, max_batch_size=3, max_delay=LONG)


def test_a_call_cancelled_after_it_was_sent_does_not_affect_the_others(gated_run, gate):
    async def main(batcher, client, server):
        first, second = (asyncio.ensure_future(batcher.predict(example(number))) for number in (1, 2))
        await entered(gate)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.open.set()
        assert value(await second) == 2

    gated_run(main, max_batch_size=2, max_delay=LONG)


def test_closing_sends_waiting_calls_and_refuses_new_ones(run):
    async def main(batcher):
        calls = [batcher.submit(example(number)) for number in range(10)]
        await batcher.close()
        assert [value(call.result()) for call in calls] == [2 * number for number in range(10)]
        with pytest.raises(ClosedError, match=r"AsyncMicroBatcher of AsyncPredictClient.*was closed"):
            await batcher.predict(example(1))

    run(main, max_batch_size=4, max_delay=LONG, in_flight=1)


def test_closing_with_a_timeout_fails_calls_that_were_not_sent(gated_run, gate):
    async def main(batcher, client, server):
        sent = batcher.submit(example(1))
        await entered(gate)
        waiting = [batcher.submit(example(number)) for number in (2, 3)]
        await batcher.close(timeout=0.05)
        for call in waiting:
            assert isinstance(call.exception(), ClosedError)
        gate.open.set()
        assert value(await sent) == 1
        assert len(predicts(server)) == 1

    gated_run(main, max_batch_size=1, in_flight=1)


def test_closing_the_client_fails_all_calls(gated_run, gate):
    async def main(batcher, client, server):
        calls = [batcher.submit(example(number)) for number in range(50)]
        await entered(gate)
        await client.close()
        gate.open.set()
        found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
        assert {type(error) for error in found} == {ClosedError}

    gated_run(main, max_batch_size=1, in_flight=2)


def test_a_loop_that_ends_leaves_nothing_behind(gate):
    async def main(server):
        client = AsyncPredictClient(server.target, model="m")
        batcher = AsyncMicroBatcher(client, max_batch_size=1, in_flight=1)
        tasks = [asyncio.ensure_future(batcher.predict(example(number))) for number in range(5)]
        await entered(gate)
        return client, tasks

    with slow_server(gate) as server:
        client, tasks = asyncio.run(main(server))
        gate.open.set()
        assert all(task.cancelled() for task in tasks)
        asyncio.run(client.close())


def test_an_idle_batcher_may_move_to_another_loop_but_a_busy_one_may_not(gate):
    async def call(batcher):
        return value(await batcher.predict(example(1)))

    async def main(batcher):
        first = asyncio.ensure_future(call(batcher))
        await entered(gate)
        with pytest.raises(ConfigError, match="has calls from another event loop; create one for each loop"):
            await asyncio.to_thread(asyncio.run, call(batcher))
        gate.open.set()
        assert await first == 1

    with slow_server(gate) as server:
        client = AsyncPredictClient(server.target, model="m")
        batcher = AsyncMicroBatcher(client)
        asyncio.run(main(batcher))
        assert asyncio.run(call(batcher)) == 1
        asyncio.run(client.close())


def test_every_caller_gets_an_outcome_whatever_fails(run):
    chance = random.Random(0)

    async def caller(batcher, index, counts):
        for number in range(30):
            draw = chance.random()
            sent = BAD if draw > 0.95 else float(1000 * index + number)
            timeout = 0.002 if 0.1 < draw < 0.2 else None
            task = asyncio.ensure_future(batcher.predict(example(sent, (1 + number % 2,)), timeout=timeout))
            if draw < 0.1:
                await asyncio.sleep(0)
                task.cancel()
            try:
                assert value(await task) == 2 * sent
                counts["good"] += 1
            except asyncio.CancelledError:
                counts["cancelled"] += 1
            except DeadlineExceededError:
                counts["late"] += 1
            except InvalidArgumentError:
                counts["bad"] += 1

    async def main(batcher):
        counts = dict.fromkeys(("good", "cancelled", "late", "bad"), 0)
        await asyncio.wait_for(asyncio.gather(*(caller(batcher, index, counts) for index in range(16))), 60)
        assert sum(counts.values()) == 480
        assert counts["good"] > 240
        assert counts["bad"]
        assert counts["cancelled"]

    run(main, max_batch_size=8, max_delay=0.001)


class CoarseLoop(asyncio.SelectorEventLoop):
    """A loop like others than asyncio's: it counts milliseconds, and its timer handles can only be cancelled."""

    class Handle:
        def __init__(self, handle):
            self._handle = handle

        def cancel(self):
            self._handle.cancel()

    timers = 0

    def time(self):
        return int(super().time() * 1000) / 1000

    def call_later(self, delay, callback, *args, context=None):
        self.timers += 1
        if round(delay * 1000) <= 0:
            return self.Handle(self.call_soon(callback, *args, context=context))
        return self.Handle(
            super().call_at(super().time() + round(delay * 1000) / 1000, callback, *args, context=context)
        )

    def call_at(self, when, callback, *args, context=None):
        return self.call_later(when - self.time(), callback, *args, context=context)


@pytest.mark.parametrize("target", ["target", "rest_url"])
def test_it_works_in_other_event_loops(models, target):
    async def caller(batcher, index):
        chance = random.Random(index)
        for number in range(20):
            await asyncio.sleep(chance.random() * 0.01)
            assert value(await batcher.predict(example(100 * index + number))) == 2 * (100 * index + number)

    async def main():
        async with (
            AsyncPredictClient(getattr(models, target), model="picky", timeout=PATIENCE) as client,
            AsyncMicroBatcher(client, max_delay=0.0053) as batcher,
        ):
            await asyncio.gather(*(caller(batcher, index) for index in range(16)))

    loop = CoarseLoop()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert loop.timers < 10 * 16 * 20  # it does not poll for due requests


def test_bad_arguments_are_explained(models):
    async def main():
        async with AsyncPredictClient(models.target, model="picky") as client:
            for options, text in (
                ({"max_batch_size": 0}, "expected a batch size of at least 1"),
                ({"max_delay": -1}, "expected max_delay in seconds"),
                ({"in_flight": 0}, "expected in_flight as a number of requests"),
            ):
                with pytest.raises(ConfigError, match=text):
                    AsyncMicroBatcher(client, **options)
            async with AsyncMicroBatcher(client) as batcher:
                with pytest.raises(EncodeError, match="expected a tensor, got None"):
                    await batcher.predict(None)
                with pytest.raises(ConfigError, match="expected a timeout in seconds above 0"):
                    await batcher.close(timeout=0)
                assert value(await batcher.predict(example(1))) == 2

    asyncio.run(main())


def test_only_an_asyncio_client_is_accepted(models):
    with (
        PredictClient(models.target) as client,
        pytest.raises(ConfigError, match="use MicroBatcher with a PredictClient"),
    ):
        AsyncMicroBatcher(client)
    with pytest.raises(ConfigError, match="expected an AsyncPredictClient, got the class AsyncPredictClient itself"):
        AsyncMicroBatcher(AsyncPredictClient)
    with pytest.raises(ConfigError, match="expected an AsyncPredictClient, got None"):
        AsyncMicroBatcher(None)


def test_a_batcher_belongs_to_its_loop():
    async def main():
        async with AsyncPredictClient("localhost:1", model="m") as client, AsyncMicroBatcher(client) as batcher:
            with pytest.raises(TypeError, match="create an AsyncMicroBatcher from it in each process"):
                pickle.dumps(batcher)

    asyncio.run(main())
