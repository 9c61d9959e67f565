"""Performs batch flows with futures, in the thread that requests the results."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from tfs_client._flows import forks
from tfs_client._flows.batching.arguments import InFlight, Progress, checked_batch_size, checked_examples, length_of
from tfs_client._flows.batching.batch_steps import BatchFlow, Begin, Ended, Give, Inbox, Outcome, Read
from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit, concurrency_limit
from tfs_client._flows.batching.example_sources import Source, ThreadedSource
from tfs_client._flows.batching.pipeline import Job
from tfs_client._flows.batching.predict_batched import batched_flow
from tfs_client._flows.batching.predict_many import ManyRun, Plan
from tfs_client._flows.batching.progress.choice import display_for
from tfs_client._flows.batching.progress.counts import Counts, Display, reported
from tfs_client._flows.batching.request_sender import RequestSender
from tfs_client._flows.batching.rows import Rows
from tfs_client._flows.batching.whole_requests import whole_request_flow
from tfs_client._flows.tracebacks import shorten
from tfs_client.errors import ClosedError, TFServingError
from tfs_client.results import Prediction


def predict_batched(
    sender: RequestSender,
    inputs: object,
    batch_size: int,
    in_flight: InFlight,
    shared: Mapping[str, object] | None,
    progress: Progress = False,
) -> Prediction:
    """Perform ``PredictClient.predict_batched``."""
    rows, concurrency = Rows(inputs, shared), concurrency_limit(in_flight)
    pending = PendingRequests(sender)
    counts = Counts(rows.count)
    flow = batched_flow(rows, checked_batch_size(batch_size), concurrency, pending.inbox, time.monotonic, counts)
    flow = reported(flow, counts, display_for(progress))
    try:
        while True:
            step = next(flow)
            if isinstance(step, Begin):
                pending.begin(step)
            else:
                pending.wait(step.seconds)  # type: ignore[union-attr]  # a Wait, the only other step of this flow
    except StopIteration as end:
        result: Prediction = end.value
        return result
    finally:
        flow.close()
        pending.cancel()


def predict_many(
    sender: RequestSender, examples: Iterable[object], plan: Plan, progress: Progress = False
) -> Generator[Outcome, None, None]:
    """Perform ``PredictClient.predict_many``. It checks the examples, and reads them on iteration."""
    checked = checked_examples(examples, (Iterable,))
    return _many(sender, checked, plan, Counts(length_of(examples)), display_for(progress))


def _many(
    sender: RequestSender, examples: Iterable[object], plan: Plan, counts: Counts, display: Display | None
) -> Generator[Outcome, None, None]:
    pending = PendingRequests(sender)
    source = Source(examples) if plan.max_delay is None else ThreadedSource(examples, pending.wakeup.set)
    try:
        run = ManyRun(plan, pending.inbox, time.monotonic, counts, sender.request_arrays)
        yield from _results(reported(run.flow(), counts, display), pending, source)
    except TFServingError as error:
        shorten(error)
        raise


def predict_each(
    sender: RequestSender, requests: Iterable[object], concurrency: ConcurrencyLimit
) -> Generator[Outcome, None, None]:
    """Send whole requests, given as their inputs; yield a prediction or an error for each, in order."""
    pending = PendingRequests(sender)
    yield from _results(whole_request_flow(concurrency, pending.inbox, time.monotonic), pending, Source(requests))


def _results(flow: BatchFlow[None], pending: PendingRequests, source: Source) -> Generator[Outcome, None, None]:
    answer: object = None
    try:
        while True:
            pending.origin.check("this iterator")  # the process may have forked meanwhile
            step = flow.send(answer)
            answer = None
            if isinstance(step, Read):
                answer = source.read()
            elif isinstance(step, Give):
                yield step.result
            elif isinstance(step, Begin):
                pending.begin(step)
            else:
                pending.wait(step.seconds)
    except StopIteration:
        return
    finally:
        flow.close()
        if pending.origin.here:
            source.close()
        pending.cancel()


class PendingRequests:
    """Requests that are under way.

    Args:
        sender: begins them. Before each, and before waiting, it checks the thread, because several threads may use a
            generator in turn.

    Attributes:
        inbox: receives their ends.
        wakeup: set when the inbox, or a source that another thread reads, has something new.
        origin: the process that they belong to.
    """

    def __init__(self, sender: RequestSender) -> None:
        self.inbox: Inbox = deque()
        self.wakeup = threading.Event()
        self.origin = forks.Origin()
        self._sender = sender
        self._under_way: set[Future[Prediction]] = set()

    def begin(self, step: Begin) -> None:
        """Begin a request. An error that keeps it from being sent is put into the inbox too."""
        self._sender.check_thread()
        try:
            future = self._sender.begin(step.inputs, batch=step.batch)
        except Exception as error:
            self.inbox.append(Ended(step.job, None, error))
            return
        self._under_way.add(future)
        future.add_done_callback(partial(self._ended, step.job))

    def _ended(self, job: Job[Any], future: Future[Prediction]) -> None:
        self._under_way.discard(future)
        error = ClosedError("the call was cancelled") if future.cancelled() else future.exception()
        self.inbox.append(Ended(job, None if error else future.result(), error))
        self.wakeup.set()

    def wait(self, seconds: float | None) -> None:
        """Wait until there is something new, for at most ``seconds``."""
        if not self.inbox:
            self._sender.check_thread()
            self.wakeup.wait(seconds)
        self.wakeup.clear()

    def cancel(self) -> None:
        """Cancel requests that are under way, but not in a forked process: there they are the parent's."""
        if self.origin.here:
            for future in list(self._under_way):
                future.cancel()
