"""Collecting: single calls of many callers to shared requests, and each caller's own outcome. Times are passed in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfs_client.batching.batch_buffer import BatchBuffer, BatchMemory, inputs
from tfs_client.batching.examples import Example, taken_apart
from tfs_client.batching.gathering import Gathering
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job, Pipeline
from tfs_client.batching.steps import Ended
from tfs_client.batching.verdicts import own_copy
from tfs_client.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError, DeadlineExceededError
from tfs_client.results import Prediction


@dataclass(eq=False)
class Caller:
    """A call that shares a request with others.

    Attributes:
        buffer, at: where its example is.
        future: where its outcome goes.
        deadline: when it must be done; infinity for no limit.
        limit: the same in seconds from its beginning, for error texts.
        sent: whether the row is, or has been, under way.
        over: whether an outcome is on its way to the future, though no request has ended.
        refusal: what a busy server last refused its row with; None when it never did.
    """

    buffer: BatchBuffer
    at: int
    future: Future[Prediction] | Any
    deadline: float
    limit: float | None
    sent: bool = False
    over: bool = False
    refusal: BaseException | None = None

    def goes(self) -> bool:
        """Whether the row is to be sent: not when the caller gave up, or has an outcome already."""
        if self.over:
            return False
        if self.sent:
            return not self.future.done()
        # From here on a caller of the threads' kind cannot cancel any more; one of asyncio's kind can.
        start = getattr(self.future, "set_running_or_notify_cancel", None)
        self.sent = start() if start is not None else not self.future.cancelled()
        return self.sent

    def late(self) -> DeadlineExceededError:
        """What a caller is told when its time is over."""
        what = "no answer" if self.sent else "no request could be sent"
        refused = self.refusal
        why = f"; last refused with {refused.code.name}: {refused.details}" if isinstance(refused, CallError) else ""
        late = DeadlineExceededError(f"{what} within {self.limit:g} s{why}", "Predict")
        late.__cause__ = refused
        return late


class Outcome(NamedTuple):
    """How calls ended, still to be told to the callers. That runs code of theirs, so it is not done under a lock."""

    callers: Sequence[Caller]
    prediction: Prediction | None
    error: BaseException | None

    def tell(self) -> None:
        """Give every caller its result, or an error of its own."""
        results: Sequence[Any] = ()
        error = self.error
        if self.prediction is not None:
            try:
                results = taken_apart(self.prediction, [None] * len(self.callers))
            except Exception as wrong:  # whatever it is, those who wait must hear of it
                error = wrong
        if error is not None:
            results = [own_copy(error) for _ in self.callers]
        for caller, result in zip(self.callers, results, strict=True):
            if caller.future.done():
                continue
            with suppress(InvalidStateError):  # cancelled this moment
                if error is None:
                    caller.future.set_result(result)
                else:
                    caller.future.set_exception(result)


class Request(NamedTuple):
    """A request to be sent for callers.

    Attributes:
        job: what is reported back when it has ended.
        timeout: seconds it may take, so that the most patient of the callers gets an answer; None for no limit.
    """

    job: Job[list[Caller]]
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
        self._memory = BatchMemory()
        self._callers: set[Caller] = set()  # who have no outcome yet
        self._soonest = math.inf  # none of their deadlines is sooner
        self._outcomes: list[Outcome] = []
        self.closing = False

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._gathering and self._pipeline.idle

    def add(self, example: Example, future: Future[Prediction] | Any, limit: float | None, now: float) -> None:
        """Another caller, whose example is copied. Raises EncodeError where there is no memory for it."""
        first = self._gathering.first(example.kind)
        buffer = first.buffer if first else self._memory.buffer(self._gathering.batch_size)
        caller = Caller(buffer, buffer.append(example), future, math.inf if limit is None else now + limit, limit)
        self._callers.add(caller)
        self._soonest = min(self._soonest, caller.deadline)
        batch = self._gathering.add(example.kind, caller, now)
        if batch is not None:
            self._pipeline.add(batch)

    def requests(self, now: float) -> Iterator[Request]:
        """What is to be sent now."""
        self._expire(now)
        while True:
            if self._pipeline.hungry:
                batch = self._gathering.oldest() if self.closing else self._gathering.due(now)
                if batch is not None:
                    self._pipeline.add(batch)
            job = self._pipeline.next(now)
            if job is None:
                return
            going = [caller for caller in job.rows if caller.goes()]
            self._callers.difference_update(set(job.rows).difference(going))
            if not going:
                self._pipeline.dropped()
                continue
            job.rows = going
            last = max(caller.deadline for caller in going)
            yield Request(job, None if last == math.inf else max(0.001, last - now))

    def inputs(self, request: Request) -> Any:
        """What is sent. Raises TFServingError for rows that make no request."""
        return inputs(request.job.rows, self._shared)

    def ended(self, end: Ended, now: float) -> None:
        """A request has ended: its callers have their outcomes, or wait again."""
        job, prediction, error = end
        if prediction is not None:
            self._pipeline.answered(job, now)
        elif error is not None and not self._pipeline.failed(job, error, now):
            self._gathering.batch_size = self._pipeline.batch_size
            if meaning_of(error) is Meaning.BUSY:
                for caller in job.rows:
                    caller.refusal = error
            return
        self._gathering.batch_size = self._pipeline.batch_size
        self._callers.difference_update(job.rows)
        self._outcomes.append(Outcome(job.rows, prediction, error))

    def outcomes(self) -> list[Outcome]:
        """What callers are to be told, once."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def give_up(self, error: BaseException) -> None:
        """Everybody whose row waits to be sent gets this error."""
        waiting = self._pipeline.withdraw()
        while (callers := self._gathering.oldest()) is not None:
            waiting.append(callers)
        self._fail([(caller, error) for callers in waiting for caller in callers])

    def wait(self, now: float) -> float | None:
        """Seconds until there is something to do though nobody calls and nothing ends; None when there is not."""
        if not self._callers:
            self._soonest = math.inf
        due = self._gathering.next_due() if self._pipeline.hungry else None
        times = [when for when in (due, self._soonest) if when is not None and when < math.inf]
        pauses = [self._pipeline.wait(now), *(max(0.0, when - now) for when in times)]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _expire(self, now: float) -> None:
        """Those whose time is over need not wait for what is under way."""
        if now >= self._soonest:
            self._fail([(caller, caller.late()) for caller in self._callers if now >= caller.deadline])
            self._soonest = min((caller.deadline for caller in self._callers), default=math.inf)

    def _fail(self, errors: Sequence[tuple[Caller, BaseException]]) -> None:
        for caller, error in errors:
            if not caller.over:
                caller.over = True
                self._callers.discard(caller)
                self._outcomes.append(Outcome([caller], None, error))
