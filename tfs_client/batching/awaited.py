"""Batch flows performed with tasks of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from tfs_client.batching.batched import predict_batched
from tfs_client.batching.many import Many, Outcome, Plan
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job
from tfs_client.batching.rows import Rows
from tfs_client.batching.steps import END, NOT_YET, Begin, Broken, Ended, Give, Inbox, Read
from tfs_client.results import Prediction

Call = Callable[[Any], Awaitable[Prediction]]  # makes a call for inputs


async def batched(call: Call, rows: Rows, batch_size: int, pace: Pace) -> Prediction:
    """Perform ``predict_batched``."""
    calls = Calls(call)
    flow = predict_batched(rows, batch_size, pace, calls.inbox, time.monotonic)
    try:
        while True:
            try:
                step = next(flow)
            except StopIteration as end:
                result: Prediction = end.value
                return result
            if isinstance(step, Begin):
                await calls.begin(step)
            else:
                await calls.wait(step.seconds)  # type: ignore[union-attr]  # a Wait, there are no others here
    finally:
        await calls.cancel()


async def many(call: Call, examples: Iterable[Any] | AsyncIterable[Any], plan: Plan) -> AsyncIterator[Outcome]:
    """Perform ``predict_many``."""
    calls = Calls(call)
    source = _AsyncSource(examples, calls.news) if isinstance(examples, AsyncIterable) else _Source(examples)
    flow = Many(plan, calls.inbox, time.monotonic).flow()
    answer: Any = None
    try:
        while True:
            try:
                step = flow.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Read):
                answer = source.read()
            elif isinstance(step, Give):
                yield step.result
            elif isinstance(step, Begin):
                await calls.begin(step)
            else:
                await calls.wait(step.seconds)
    finally:
        await source.close()
        await calls.cancel()


class Calls:
    """Calls that are under way.

    Attributes:
        inbox: where they come to when they have ended.
        news: set when there is something new, also in the source.
    """

    def __init__(self, call: Call) -> None:
        self.inbox: Inbox = deque()
        self.news = asyncio.Event()
        self._call = call
        self._under_way: set[asyncio.Task[None]] = set()

    async def begin(self, step: Begin) -> None:
        """Begin a call."""
        task = asyncio.ensure_future(self._made(step))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.sleep(0)  # so that it is sent now, however long results and examples come without a wait

    async def _made(self, step: Begin) -> None:
        try:
            self._ended(step.job, await self._call(step.inputs), None)
        except Exception as error:
            self._ended(step.job, None, error)

    def _ended(self, job: Job[Any], prediction: Prediction | None, error: Exception | None) -> None:
        self.inbox.append(Ended(job, prediction, error))
        self.news.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait until something has come, but not longer."""
        if not self.inbox:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self.news.wait(), seconds)
        self.news.clear()

    async def cancel(self) -> None:
        """Cancel what is under way, and see it end."""
        await _ended_early(self._under_way)


class _Source:
    """Examples, read when they are asked for."""

    def __init__(self, examples: Iterable[Any]) -> None:
        self._examples = iter(examples)

    def read(self) -> Any:
        """The next example, ``END``, ``Broken``, or ``NOT_YET``."""
        try:
            return next(self._examples, END)
        except Exception as error:
            return Broken(error)

    async def close(self) -> None:
        """Nothing more is asked for."""


class _AsyncSource(_Source):
    """Examples of an asynchronous source: a task reads one each time one is asked for."""

    def __init__(self, examples: AsyncIterable[Any], news: asyncio.Event) -> None:
        self._source = examples.__aiter__()
        self._news = news
        self._reading: asyncio.Task[Any] | None = None

    def read(self) -> Any:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._next())
            self._reading.add_done_callback(lambda _: self._news.set())
        if not self._reading.done():
            return NOT_YET
        reading, self._reading = self._reading, None
        return reading.result()

    async def _next(self) -> Any:
        try:
            return await self._source.__anext__()
        except StopAsyncIteration:
            return END
        except Exception as error:
            return Broken(error)

    async def close(self) -> None:
        if self._reading is not None:
            await _ended_early({self._reading})


async def _ended_early(tasks: set[asyncio.Task[Any]]) -> None:
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
