"""Batch flows performed with tasks of asyncio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from tfs_client import forks
from tfs_client.batching.batched import predict_batched
from tfs_client.batching.many import Many, Outcome, Plan
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job
from tfs_client.batching.rows import Rows
from tfs_client.batching.sources import Source, ThreadedSource
from tfs_client.batching.steps import END, NOT_YET, Begin, Broken, Ended, Give, Inbox, Read
from tfs_client.errors import ClosedError
from tfs_client.results import Prediction
from tfs_client.within import whole_milliseconds

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
        await _ended_early(calls.under_way)


async def many(call: Call, examples: Iterable[Any] | AsyncIterable[Any], plan: Plan) -> AsyncIterator[Outcome]:
    """Perform ``predict_many``."""
    calls = Calls(call)
    source = _source(examples, plan, calls.news)
    flow = Many(plan, calls.inbox, time.monotonic).flow()
    answer: Any = None
    try:
        while True:
            calls.origin.check("this iterator")  # a fork may have come while it was suspended
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
        if calls.origin.here:
            source.close()
            await _ended_early(calls.under_way | ({source.task} if isinstance(source, _AsyncSource) else set()))


class Calls:
    """Calls that are under way.

    Attributes:
        inbox: where they come to when they have ended.
        news: set when there is something new, also in the source.
        under_way: the tasks that make them.
        origin: the process that they belong to.
    """

    def __init__(self, call: Call) -> None:
        self.inbox: Inbox = deque()
        self.news = asyncio.Event()
        self.origin = forks.Origin()
        self._call = call
        self.under_way: set[asyncio.Task[Any]] = set()

    async def begin(self, step: Begin) -> None:
        """Begin a call."""
        task = asyncio.ensure_future(self._made(step))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        await asyncio.sleep(0)  # so that it is sent now, however long results and examples come without a wait

    async def _made(self, step: Begin) -> None:
        try:
            self._ended(step.job, await self._call(step.inputs), None)
        except Exception as error:
            self._ended(step.job, None, error)
        except asyncio.CancelledError:  # by this module, which does not look; or by a client's own doing
            self._ended(step.job, None, ClosedError("the call was cancelled"))
            raise

    def _ended(self, job: Job[Any], prediction: Prediction | None, error: Exception | None) -> None:
        self.inbox.append(Ended(job, prediction, error))
        self.news.set()

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(whole_milliseconds(seconds), self.news.set)

    async def wait(self, seconds: float | None) -> None:
        """Wait until something has come, but not longer."""
        if not self.inbox:
            # No wait_for: before Python 3.12 it may swallow the cancelling of this task.
            timer = None if seconds is None else self._after(seconds)
            try:
                await self.news.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        self.news.clear()


def _source(examples: Any, plan: Plan, news: asyncio.Event) -> Source | _AsyncSource:
    if isinstance(examples, AsyncIterable):
        return _AsyncSource(examples, news)
    if plan.max_delay is None:
        return Source(examples)
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop came to its end meanwhile
            loop.call_soon_threadsafe(news.set)

    return ThreadedSource(examples, tell)


class _AsyncSource:
    """Examples of an asynchronous source: a task reads one each time one is asked for.

    It is one task for all of them, for a source may hold what belongs to a task: a timeout, or a group of tasks.

    Attributes:
        task: that task.
    """

    def __init__(self, examples: AsyncIterable[Any], news: asyncio.Event) -> None:
        self._source = examples.__aiter__()
        self._news = news
        self._wanted = asyncio.Event()
        self._asked = False
        self._there: deque[Any] = deque()
        self.task = asyncio.ensure_future(self._read())

    def read(self) -> Any:
        """The next example, ``END``, ``Broken``, or ``NOT_YET``."""
        if self._there:
            self._asked = False
            return self._there.popleft()
        if not self._asked:
            self._asked = True
            self._wanted.set()
        return NOT_YET

    async def _read(self) -> None:
        found: Any = None
        while found is not END and not isinstance(found, Broken):
            found = None  # nobody but the reader keeps it
            await self._wanted.wait()
            self._wanted.clear()
            try:
                found = await self._source.__anext__()
            except StopAsyncIteration:
                found = END
            except Exception as error:
                found = Broken(error)
            except asyncio.CancelledError as error:
                self._there.append(Broken(error))  # of the source's own making, or nobody looks any more
                self._news.set()
                raise
            self._there.append(found)
            self._news.set()

    def close(self) -> None:
        """Nothing more is asked for."""
        self.task.cancel()


async def _ended_early(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and see them end."""
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
