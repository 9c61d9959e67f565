"""SharedRequests: puts the calls of many callers into few requests, and gives each its outcome. Times are passed in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tfs_client._codec.snapshots import Read
from tfs_client._flows.batching.batch_buffer import BatchBuffer, BatchMemory, NewRequest, request_inputs
from tfs_client._flows.batching.batch_steps import Ended
from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit
from tfs_client._flows.batching.example_rows import Example, split_prediction
from tfs_client._flows.batching.grouping import Grouping
from tfs_client._flows.batching.last_attempt import LastAttempt
from tfs_client._flows.batching.pipeline import Job, Pipeline
from tfs_client._flows.batching.recovery import own_copy
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError, DeadlineExceededError
from tfs_client.results import Prediction
from tfs_client.telemetry.records import Batch

# A request ends at the deadline of its most patient caller, and its error says why there was no answer: perhaps no
# server could be reached. The deadlines of others that came with it pass just before, so all of them wait a little
# longer for the error. Those that pass earlier are failed with what is known by then (``LastAttempt``). If an attempt
# is under way then, after one that reached no server, they wait as long: it probably reaches none either.
GRACE = 0.1  # seconds that a caller waits after its deadline; at least half of it is after the end of the request


class CallFuture(Protocol):
    """What a call waits for: a ``concurrent.futures.Future``, or one of asyncio."""

    def done(self) -> bool: ...

    def cancelled(self) -> bool: ...

    def exception(self) -> BaseException | None: ...

    def set_result(self, result: Prediction, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(eq=False)
class Caller:
    """A call that shares a request with others.

    Attributes:
        buffer, at: where its example is.
        future: receives its outcome.
        deadline: when it expires; infinity for no limit.
        expires: when it fails although its request is under way: its deadline, or a little later, if the request ends
            at that time.
        limit: its timeout in seconds, for error texts.
        came: when the call was made.
        sent: whether its row is, or has been, in a request.
        settled: whether it has an outcome that does not come from a request; it may not be delivered yet.
        refusal: the error with which a busy server last refused its row; None if none has.
        attempt: the last attempt of the request that is under way with its row; None if none is.
    """

    buffer: BatchBuffer
    at: int
    future: CallFuture
    deadline: float
    limit: float | None
    came: float
    sent: bool = False
    settled: bool = False
    refusal: BaseException | None = None
    attempt: LastAttempt | None = None

    def __post_init__(self) -> None:
        self.expires: float = self.deadline

    def claim(self) -> bool:
        """Claim the row for a request. Returns False if the caller has cancelled, or already has an outcome."""
        if self.settled:
            return False
        if self.sent:
            return not self.future.done()
        # From here on a concurrent.futures.Future cannot be cancelled any more; a future of asyncio can.
        start = getattr(self.future, "set_running_or_notify_cancel", None)
        self.sent = start() if start is not None else not self.future.cancelled()
        return self.sent

    def deadline_error(self, before: CallError | None = None) -> DeadlineExceededError:
        """The error of a call whose deadline has passed.

        Args:
            before: why the requests before it are not answered; of interest if its row has not been sent.
        """
        what = "no answer" if self.sent else "no request could be sent"
        failed = self.attempt.error if self.attempt is not None else None if self.sent else before
        if failed is None:
            refused = self.refusal
            why = f"last refused with {refused.code.name}: {refused.details}" if isinstance(refused, CallError) else ""
            return self._late(what, why, refused)
        unreached = failed.unreached and (self.attempt is None or self.attempt.pausing)
        why = f"the last attempt: {failed.code.name}: {failed.details}"
        late = self._late("no server was reached" if unreached else what, why, failed)
        late.hint, late.retry_after, late.unreached = failed.hint, failed.retry_after, unreached
        if self.attempt is not None:
            late.attempts = failed.attempts
        return late

    def _late(self, what: str, why: str, cause: BaseException | None) -> DeadlineExceededError:
        late = DeadlineExceededError(f"{what} within {self.limit:g} s{f'; {why}' if why else ''}", "Predict")
        late.__cause__ = cause
        return late


class Delivery(NamedTuple):
    """A prediction or an error to deliver to callers. That runs their callbacks, so no lock may be held."""

    callers: Sequence[Caller]
    prediction: Prediction | None
    error: BaseException | None

    def deliver(self) -> None:
        """Give every caller its result, or its own copy of the error."""
        results: Sequence[Prediction] = ()
        error = self.error
        if self.prediction is not None:
            try:
                results = split_prediction(self.prediction, [None] * len(self.callers))
            except Exception as wrong:  # whatever it is, the callers must get it
                error = wrong
        for index, caller in enumerate(self.callers):
            if caller.future.done():
                continue
            with suppress(InvalidStateError):  # cancelled at this moment
                if error is None:
                    caller.future.set_result(results[index])
                else:
                    caller.future.set_exception(own_copy(error))


class Request(NamedTuple):
    """A request to send for callers.

    Attributes:
        job: its rows; to be passed back when it has ended.
        timeout: seconds it may take, until the latest deadline of its callers; None for no limit.
        attempt: to be kept up to date while it is under way.
    """

    job: Job[list[Caller]]
    timeout: float | None
    attempt: LastAttempt

    @property
    def batch(self) -> Batch:
        """What hooks learn about it."""
        return Batch("micro", len(self.job.rows), self.job.began - self.job.rows[0].came)


class SharedRequests:
    """Callers that wait for others, and their requests that are under way.

    Args:
        batch_size: maximum rows in a request.
        max_delay: maximum seconds that a caller waits for others.
        concurrency: how many requests may be under way. While that many are, callers wait, and requests become fuller.
        shared: inputs that are sent whole with every request.
        new_request: makes the arrays of requests.

    Attributes:
        closing: whether callers no longer wait for others; their rows are sent as soon as possible.
    """

    def __init__(
        self,
        batch_size: int,
        max_delay: float,
        concurrency: ConcurrencyLimit,
        shared: Mapping[str, Read],
        new_request: NewRequest | None = None,
    ) -> None:
        self._shared = shared
        self._groups: Grouping[Caller] = Grouping(batch_size, max_delay)
        self._pipeline: Pipeline[list[Caller]] = Pipeline(concurrency, batch_size, isolate=True)
        self._memory = BatchMemory(new_request, shared)
        self._callers: set[Caller] = set()  # those without an outcome
        self._soonest = math.inf  # a lower bound of the times when they expire
        self._deliveries: list[Delivery] = []
        self._attempts: dict[Job[list[Caller]], LastAttempt] = {}  # of the requests under way
        self._unreached: CallError | None = None  # the error of the last request, if it reached no server
        self.closing = False

    @property
    def idle(self) -> bool:
        """Whether no row waits and no request is under way."""
        return not self._groups and self._pipeline.idle

    def add(self, example: Example, future: CallFuture, limit: float | None, now: float) -> None:
        """Add a caller, and copy its example. Raises EncodeError if there is not enough memory."""
        first = self._groups.first(example.kind)
        buffer = first.buffer if first else self._memory.buffer(self._groups.batch_size)
        deadline = math.inf if limit is None else now + limit
        caller = Caller(buffer, buffer.append(example), future, deadline, limit, now)
        self._callers.add(caller)
        self._soonest = min(self._soonest, caller.deadline)
        batch = self._groups.add(example.kind, caller, now)
        if batch is not None:
            self._pipeline.add(batch)

    def due(self, now: float) -> Iterator[Request]:
        """The requests to send now."""
        self._expire(now)
        while True:
            if self._pipeline.wants_rows:
                batch = self._groups.oldest() if self.closing else self._groups.due(now)
                if batch is not None:
                    self._pipeline.add(batch)
            job = self._pipeline.next(now)
            if job is None:
                return
            claimed = [caller for caller in job.rows if caller.claim()]
            self._callers.difference_update(set(job.rows).difference(claimed))
            if not claimed:
                self._pipeline.discarded()
                continue
            job.rows = claimed
            last = max(caller.deadline for caller in claimed)
            attempt = self._attempts[job] = LastAttempt()
            for caller in claimed:
                caller.attempt = attempt
                if caller.refusal is None and last - caller.deadline <= GRACE / 2:
                    caller.expires = caller.deadline + GRACE
            yield Request(job, None if last == math.inf else max(0.001, last - now), attempt)

    def inputs(self, request: Request) -> Mapping[str, Read] | Read:
        """The inputs of a request. Raises TFServingError if its rows cannot be joined."""
        return request_inputs(request.job.rows, self._shared)

    def ended(self, end: Ended, now: float) -> None:
        """Record the end of a request: its callers get their outcomes, or wait again."""
        job, prediction, error = end
        del self._attempts[job]
        self._unreached = copy(error) if isinstance(error, CallError) and error.unreached else None
        if prediction is not None:
            self._pipeline.answered(job, now, prediction)
        elif error is not None and not self._pipeline.failed(job, error, now):
            self._groups.batch_size = self._pipeline.batch_size
            if meaning_of(error) is Meaning.BUSY:
                for caller in job.rows:
                    caller.refusal = error
            for caller in job.rows:  # they wait again
                caller.expires, caller.attempt = caller.deadline, None
                self._soonest = min(self._soonest, caller.expires)
            return
        self._groups.batch_size = self._pipeline.batch_size
        if isinstance(error, DeadlineExceededError):  # of the last attempt: an earlier refusal says more
            refused = [caller for caller in job.rows if caller.refusal is not None]
            self._fail([(caller, caller.deadline_error()) for caller in refused])
        self._callers.difference_update(job.rows)
        self._deliveries.append(Delivery(job.rows, prediction, error))

    def deliveries(self) -> list[Delivery]:
        """The outcomes to deliver now; each is returned once."""
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def fail_waiting(self, error: BaseException) -> None:
        """Fail every caller whose row waits to be sent."""
        waiting = self._pipeline.withdraw()
        while (callers := self._groups.oldest()) is not None:
            waiting.append(callers)
        self._fail([(caller, error) for callers in waiting for caller in callers])

    def wait(self, now: float) -> float | None:
        """Seconds until there is work even if nobody calls and no request ends; None without work."""
        if not self._callers:
            self._soonest = math.inf
        due = self._groups.next_due() if self._pipeline.wants_rows else None
        times = [when for when in (due, self._soonest) if when is not None and when < math.inf]
        pauses = [self._pipeline.wait(now), *(max(0.0, when - now) for when in times)]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _expire(self, now: float) -> None:
        """Fail callers whose deadline has passed, even if their request is under way."""
        if now >= self._soonest:
            for caller in self._callers:
                if caller.expires == caller.deadline <= now and self._may_learn(caller):
                    caller.expires += GRACE
            before = self._failure()
            self._fail([(caller, caller.deadline_error(before)) for caller in self._callers if now >= caller.expires])
            self._soonest = min((caller.expires for caller in self._callers), default=math.inf)

    def _may_learn(self, caller: Caller) -> bool:
        """Whether an attempt is under way for a caller that probably reaches no server, as the one before it."""
        attempt = caller.attempt
        if attempt is None or attempt.pausing or caller.refusal is not None:
            return False
        before = attempt.error or self._unreached
        return before is not None and before.unreached

    def _failure(self) -> CallError | None:
        """Why no request is answered; None if one may be."""
        failures = [attempt.error for attempt in self._attempts.values()] or [self._unreached]
        return None if None in failures else failures[-1]

    def _fail(self, errors: Sequence[tuple[Caller, BaseException]]) -> None:
        for caller, error in errors:
            if not caller.settled:
                caller.settled = True
                self._callers.discard(caller)
                self._deliveries.append(Delivery([caller], None, error))
