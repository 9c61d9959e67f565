"""Batch flows performed with futures, by the thread that asks for results."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from tfs_client import forks
from tfs_client.batching.batched import predict_batched
from tfs_client.batching.many import Many, Outcome, Plan
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job
from tfs_client.batching.rows import Rows
from tfs_client.batching.sources import Source, ThreadedSource
from tfs_client.batching.steps import BatchFlow, Begin, Ended, Give, Inbox, Read
from tfs_client.batching.whole import predict_each
from tfs_client.errors import ClosedError
from tfs_client.results import Prediction

Call = Callable[[Any], Future[Prediction]]  # begins a call for inputs
Check = Callable[[], None]  # raises in a thread that must not wait for calls


def batched(call: Call, rows: Rows, batch_size: int, pace: Pace, check: Check) -> Prediction:
    """Perform ``predict_batched``."""
    calls = Calls(call, check)
    flow = predict_batched(rows, batch_size, pace, calls.inbox, time.monotonic)
    try:
        while True:
            step = next(flow)
            if isinstance(step, Begin):
                calls.begin(step)
            else:
                calls.wait(step.seconds)  # type: ignore[union-attr]  # a Wait, there are no others here
    except StopIteration as end:
        result: Prediction = end.value
        return result
    finally:
        calls.cancel()


def many(call: Call, examples: Iterable[Any], plan: Plan, check: Check) -> Iterator[Outcome]:
    """Perform ``predict_many``."""
    calls = Calls(call, check)
    source = Source(examples) if plan.max_delay is None else ThreadedSource(examples, calls.news.set)
    yield from _given(Many(plan, calls.inbox, time.monotonic).flow(), calls, source)


def each(call: Call, requests: Iterable[Any], pace: Pace, check: Check) -> Iterator[Outcome]:
    """Perform ``predict_each``: the inputs of whole requests, and a prediction or an error for each."""
    calls = Calls(call, check)
    yield from _given(predict_each(pace, calls.inbox, time.monotonic), calls, Source(requests))


def _given(flow: BatchFlow[None], calls: Calls, source: Source | ThreadedSource) -> Iterator[Outcome]:
    answer: Any = None
    try:
        while True:
            calls.origin.check("this iterator")  # a fork may have come while it was suspended, or in its source
            step = flow.send(answer)
            answer = None
            if isinstance(step, Read):
                answer = source.read()
            elif isinstance(step, Give):
                yield step.result
            elif isinstance(step, Begin):
                calls.begin(step)
            else:
                calls.wait(step.seconds)
    except StopIteration:
        return
    finally:
        if calls.origin.here:
            source.close()
        calls.cancel()


class Calls:
    """Calls that are under way.

    Args:
        call: begins one.
        check: called before each, and before waiting, for a generator may go from thread to thread.

    Attributes:
        inbox: where they come to when they have ended.
        news: set when there is something new, also in a source that is read in another thread.
        origin: the process that they belong to.
    """

    def __init__(self, call: Call, check: Check) -> None:
        self.inbox: Inbox = deque()
        self.news = threading.Event()
        self.origin = forks.Origin()
        self._call = call
        self._check = check
        self._under_way: set[Future[Prediction]] = set()

    def begin(self, step: Begin) -> None:
        """Begin a call. What keeps it from being sent comes to the inbox too."""
        self._check()
        try:
            future = self._call(step.inputs)
        except Exception as error:
            self.inbox.append(Ended(step.job, None, error))
            return
        self._under_way.add(future)
        future.add_done_callback(partial(self._ended, step.job))

    def _ended(self, job: Job[Any], future: Future[Prediction]) -> None:
        self._under_way.discard(future)
        error = ClosedError("the call was cancelled") if future.cancelled() else future.exception()
        self.inbox.append(Ended(job, None if error else future.result(), error))
        self.news.set()

    def wait(self, seconds: float | None) -> None:
        """Wait until something has come, but not longer."""
        if not self.inbox:
            self._check()
            self.news.wait(seconds)
        self.news.clear()

    def cancel(self) -> None:
        """Cancel what is under way. In a forked process that is the parent's."""
        if self.origin.here:
            for future in list(self._under_way):
                future.cancel()
