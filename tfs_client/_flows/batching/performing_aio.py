"""Performs batch flows with asyncio tasks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from tfs_client._flows import forks
from tfs_client._flows.batching.arguments import InFlight, Progress, checked_batch_size, checked_examples, length_of
from tfs_client._flows.batching.batch_steps import END, NOT_YET, Begin, Ended, Give, Inbox, Outcome, Read, SourceError
from tfs_client._flows.batching.concurrency_limit import concurrency_limit
from tfs_client._flows.batching.example_sources import Source, ThreadedSource
from tfs_client._flows.batching.pipeline import Job
from tfs_client._flows.batching.predict_batched import batched_flow
from tfs_client._flows.batching.predict_many import ManyRun, Plan
from tfs_client._flows.batching.progress.choice import display_for
from tfs_client._flows.batching.progress.counts import Counts, Display, reported
from tfs_client._flows.batching.request_sender_aio import AsyncRequestSender
from tfs_client._flows.batching.rows import Rows
from tfs_client._flows.tracebacks import shorten
from tfs_client._transports.within import whole_milliseconds
from tfs_client.errors import ClosedError, TFServingError
from tfs_client.results import Prediction


async def predict_batched(
    sender: AsyncRequestSender,
    inputs: object,
    batch_size: int,
    in_flight: InFlight,
    shared: Mapping[str, object] | None,
    progress: Progress = False,
) -> Prediction:
    """Perform ``AsyncPredictClient.predict_batched``."""
    rows, concurrency = Rows(inputs, shared, own=True), concurrency_limit(in_flight)
    pending = PendingRequests(sender)
    counts = Counts(rows.count)
    flow = batched_flow(rows, checked_batch_size(batch_size), concurrency, pending.inbox, time.monotonic, counts)
    flow = reported(flow, counts, display_for(progress))
    try:
        while True:
            try:
                step = next(flow)
            except StopIteration as end:
                result: Prediction = end.value
                return result
            if isinstance(step, Begin):
                await pending.begin(step)
            else:
                await pending.wait(step.seconds)  # type: ignore[union-attr]  # a Wait, the only other step of this flow
    finally:
        flow.close()
        await _cancel_all(pending.under_way)


def predict_many(
    sender: AsyncRequestSender,
    examples: Iterable[object] | AsyncIterable[object],
    plan: Plan,
    progress: Progress = False,
) -> AsyncGenerator[Outcome, None]:
    """Perform ``AsyncPredictClient.predict_many``. It checks the examples, and reads them on iteration."""
    checked = checked_examples(examples, (Iterable, AsyncIterable))
    return _many(sender, checked, plan, Counts(length_of(examples)), display_for(progress))


async def _many(
    sender: AsyncRequestSender,
    examples: Iterable[object] | AsyncIterable[object],
    plan: Plan,
    counts: Counts,
    display: Display | None,
) -> AsyncGenerator[Outcome, None]:
    pending = PendingRequests(sender)
    source = _source_of(examples, plan, pending.wakeup)
    run = ManyRun(plan, pending.inbox, time.monotonic, counts, sender.request_arrays)
    flow = reported(run.flow(), counts, display)
    answer: object = None
    try:
        while True:
            pending.origin.check("this iterator")  # the process may have forked meanwhile
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
                await pending.begin(step)
            else:
                await pending.wait(step.seconds)
    except TFServingError as error:
        shorten(error)
        raise
    finally:
        flow.close()
        if pending.origin.here:
            source.close()
            await _cancel_all(pending.under_way | ({source.task} if isinstance(source, _AsyncSource) else set()))


class PendingRequests:
    """Requests that are under way.

    Args:
        sender: sends them.

    Attributes:
        inbox: receives their ends.
        wakeup: set when the inbox or the source has something new.
        under_way: their tasks.
        origin: the process that they belong to.
    """

    def __init__(self, sender: AsyncRequestSender) -> None:
        self.inbox: Inbox = deque()
        self.wakeup = asyncio.Event()
        self.origin = forks.Origin()
        self._sender = sender
        self.under_way: set[asyncio.Task[None]] = set()

    async def begin(self, step: Begin) -> None:
        """Begin a request."""
        task = asyncio.ensure_future(self._send(step))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        await asyncio.sleep(0)  # sends it now, however long results and examples keep coming without a wait

    async def _send(self, step: Begin) -> None:
        try:
            self._ended(step.job, await self._sender.send(step.inputs, batch=step.batch), None)
        except Exception as error:
            self._ended(step.job, None, error)
        except asyncio.CancelledError:  # by this module, which then ignores it, or by the client
            self._ended(step.job, None, ClosedError("the call was cancelled"))
            raise

    def _ended(self, job: Job[Any], prediction: Prediction | None, error: Exception | None) -> None:
        self.inbox.append(Ended(job, prediction, error))
        self.wakeup.set()

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(whole_milliseconds(seconds), self.wakeup.set)

    async def wait(self, seconds: float | None) -> None:
        """Wait until there is something new, for at most ``seconds``."""
        if not self.inbox:
            # Not wait_for: before Python 3.12 it may swallow the cancellation of this task.
            timer = None if seconds is None else self._after(seconds)
            try:
                await self.wakeup.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        self.wakeup.clear()


def _source_of(
    examples: Iterable[object] | AsyncIterable[object], plan: Plan, wakeup: asyncio.Event
) -> Source | _AsyncSource:
    if isinstance(examples, AsyncIterable):
        return _AsyncSource(examples, wakeup)
    if plan.max_delay is None:
        return Source(examples)
    loop = asyncio.get_running_loop()

    def notify() -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(wakeup.set)

    return ThreadedSource(examples, notify)


class _AsyncSource:
    """An asynchronous source: a task reads one example per request.

    One task reads all of them, because a source may hold a timeout or a task group, which belong to a task.

    Attributes:
        task: the task that reads.
    """

    def __init__(self, examples: AsyncIterable[object], wakeup: asyncio.Event) -> None:
        self._source = examples.__aiter__()
        self._wakeup = wakeup
        self._wanted = asyncio.Event()
        self._asked = False
        self._ready: deque[object] = deque()
        self.task = asyncio.ensure_future(self._read())

    def read(self) -> object:
        """The next example, ``END``, ``NOT_YET`` or a ``SourceError``."""
        if self._ready:
            self._asked = False
            return self._ready.popleft()
        if not self._asked:
            self._asked = True
            self._wanted.set()
        return NOT_YET

    async def _read(self) -> None:
        found: object = None
        while found is not END and not isinstance(found, SourceError):
            found = None  # only the reader keeps the example alive
            await self._wanted.wait()
            self._wanted.clear()
            try:
                found = await self._source.__anext__()
            except StopAsyncIteration:
                found = END
            except Exception as error:
                found = SourceError(error)
            except asyncio.CancelledError as error:
                self._ready.append(SourceError(error))  # raised by the source itself; otherwise nobody reads this
                self._wakeup.set()
                raise
            self._ready.append(found)
            self._wakeup.set()

    def close(self) -> None:
        """Stop reading."""
        self.task.cancel()


async def _cancel_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
