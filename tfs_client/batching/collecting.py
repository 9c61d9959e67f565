"""Collecting: single calls of many callers to shared requests, and each caller's own outcome. Times are passed in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfs_client.batching.examples import Example, stacked, taken_apart
from tfs_client.batching.gathering import Gathering
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job, Pipeline
from tfs_client.batching.steps import Ended
from tfs_client.errors import DeadlineExceededError, TFServingError
from tfs_client.results import Prediction


@dataclass(eq=False)
class Caller:
    """A call that shares a request with others.

    Attributes:
        example: its row.
        future: where its outcome goes.
        deadline: when it must be done; infinity for no limit.
        limit: the same in seconds from its beginning, for error texts.
        sent: whether the row is, or has been, under way.
    """

    example: Example
    future: Future[Prediction] | Any
    deadline: float
    limit: float | None
    sent: bool = False

    def goes(self, now: float) -> bool:
        """Whether the row is to be sent: not when the caller gave up, or when its time is over."""
        if self.sent:
            return not self.future.done()
        if self.future.cancelled():
            return False
        if now >= self.deadline:
            self.fail(DeadlineExceededError(f"no request could be sent within {self.limit:g} s", "Predict"))
            return False
        # From here on a caller of the threads' kind cannot cancel any more; one of asyncio's kind can.
        start = getattr(self.future, "set_running_or_notify_cancel", None)
        self.sent = start is None or start()
        return self.sent

    def fail(self, error: BaseException) -> None:
        """The call has failed."""
        if not self.future.done():
            self.future.set_exception(error)

    def answer(self, prediction: Prediction) -> None:
        """The call has its answer."""
        if not self.future.done():
            self.future.set_result(prediction)


class Request(NamedTuple):
    """A request to be sent for callers.

    Attributes:
        job: what is reported back when it has ended.
        inputs: what is sent.
        timeout: seconds it may take, so that the most patient of the callers gets an answer; None for no limit.
    """

    job: Job[list[Caller]]
    inputs: Any
    timeout: float | None


class Collector:
    """Callers that wait for others, and requests that are under way for them.

    Args:
        batch_size: rows in a request, at the most.
        max_delay: seconds that a caller waits for others, at the most.
        pace: how many requests may be under way. While that many are, callers wait, and requests become fuller.
        shared: inputs that go whole with every request.
    """

    def __init__(self, batch_size: int, max_delay: float, pace: Pace, shared: Mapping[str, Any]) -> None:
        self._shared = shared
        self._gathering: Gathering[Caller] = Gathering(batch_size, max_delay)
        self._pipeline: Pipeline[list[Caller]] = Pipeline(pace, batch_size, alone=True)
        self.closing = False

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._gathering and self._pipeline.idle

    def add(self, caller: Caller, now: float) -> None:
        """Another caller."""
        batch = self._gathering.add(caller.example.kind, caller, now)
        if batch is not None:
            self._pipeline.add(batch)

    def requests(self, now: float) -> Iterator[Request]:
        """What is to be sent now."""
        while True:
            if self._pipeline.hungry:
                batch = self._gathering.oldest() if self.closing else self._gathering.due(now)
                if batch is not None:
                    self._pipeline.add(batch)
            job = self._pipeline.next(now)
            if job is None:
                return
            job.rows = [caller for caller in job.rows if caller.goes(now)]
            if not job.rows:
                self._pipeline.dropped()
                continue
            try:
                inputs = stacked([caller.example for caller in job.rows], self._shared)
            except TFServingError as error:
                self.ended(Ended(job, None, error), now)
                continue
            last = max(caller.deadline for caller in job.rows)
            yield Request(job, inputs, None if last == math.inf else max(0.001, last - now))

    def ended(self, end: Ended, now: float) -> None:
        """A request has ended: its callers get their outcomes, or wait again."""
        job, prediction, error = end
        self._gathering.batch_size = self._pipeline.batch_size
        if prediction is not None:
            self._pipeline.answered(job, now)
            try:
                results = taken_apart(prediction, len(job.rows))
            except TFServingError as wrong:
                error = wrong
            else:
                for caller, result in zip(job.rows, results, strict=True):
                    caller.answer(result)
                return
        elif error is not None and not self._pipeline.failed(job, error, now):
            return
        assert error is not None
        for caller in job.rows:
            caller.fail(copy(error))  # its own, for every thread that raises one adds its traceback to it

    def give_up(self, error: BaseException) -> None:
        """Everybody who has not been sent yet gets this error."""
        while (callers := self._gathering.oldest()) is not None:
            for caller in callers:
                caller.fail(error)

    def wait(self, now: float) -> float | None:
        """Seconds until there is something to send though nobody calls and nothing ends; None when there is not."""
        due = self._gathering.next_due() if self._pipeline.hungry else None
        pauses = [self._pipeline.wait(now), None if due is None else max(0.0, due - now)]
        return min((pause for pause in pauses if pause is not None), default=None)
