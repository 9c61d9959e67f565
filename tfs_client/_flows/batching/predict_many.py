"""The flow of ``predict_many``: reads examples from a source, and gives a result for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tfs_client._codec.snapshots import Read, read_named
from tfs_client._flows.batching.arguments import checked_batch_size, checked_delay
from tfs_client._flows.batching.batch_buffer import BatchBuffer, BatchMemory, NewRequest, request_inputs
from tfs_client._flows.batching.batch_steps import (
    END,
    NOT_YET,
    READ,
    BatchFlow,
    Begin,
    Ended,
    Give,
    Inbox,
    Outcome,
    SourceError,
    Wait,
)
from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit, concurrency_limit
from tfs_client._flows.batching.example_rows import Example, read_example, split_prediction
from tfs_client._flows.batching.grouping import Grouping
from tfs_client._flows.batching.pipeline import Job, Pipeline
from tfs_client._flows.batching.progress.counts import Counts
from tfs_client._flows.batching.recovery import with_place
from tfs_client._printable import shown
from tfs_client.errors import ClosedError, ConfigError, TFServingError
from tfs_client.telemetry.records import Batch


class Plan(NamedTuple):
    """The arguments of ``PredictClient.predict_many``, checked; ``raises`` stands for ``on_error="raise"``."""

    batch_size: int
    concurrency: ConcurrencyLimit
    ordered: bool
    raises: bool
    max_delay: float | None
    shared: Mapping[str, Read]

    @classmethod
    def of(
        cls,
        batch_size: object,
        in_flight: object,
        ordered: bool,
        on_error: object,
        max_delay: object,
        shared: Mapping[str, object] | None,
    ) -> Plan:
        """A plan from a user's arguments. Raises ConfigError, and EncodeError for shared inputs."""
        if on_error not in ("raise", "return"):
            raise ConfigError(f"expected on_error='raise' or 'return', got {shown(on_error)}")
        return cls(
            checked_batch_size(batch_size),
            concurrency_limit(in_flight),
            bool(ordered),
            on_error == "raise",
            None if max_delay is None else checked_delay(max_delay),
            read_named(shared or {}, "shared input", own=True),
        )


class NumberedRow(NamedTuple):
    """An example that was read.

    Attributes:
        number: its position in the source.
        buffer, at: where its row is.
        came: when it was read.
    """

    number: int
    buffer: BatchBuffer
    at: int
    came: float


class ManyRun:
    """One run of ``predict_many``.

    Args:
        plan: how examples are sent.
        inbox: where the ends of requests arrive.
        clock: a monotonic clock, in seconds.
        counts: counts the examples.
        new_request: makes the arrays of requests.
    """

    def __init__(
        self,
        plan: Plan,
        inbox: Inbox,
        clock: Callable[[], float],
        counts: Counts,
        new_request: NewRequest | None = None,
    ) -> None:
        self._plan = plan
        self._inbox = inbox
        self._clock = clock
        self._counts = counts
        self._pipeline: Pipeline[list[NumberedRow]] = Pipeline(plan.concurrency, plan.batch_size, isolate=True)
        self._groups: Grouping[NumberedRow] = Grouping(plan.batch_size, plan.max_delay)
        self._memory = BatchMemory(new_request, plan.shared)
        self._outcomes: _Outcomes = _Ordered() if plan.ordered else _Unordered()
        self._read = self._given = 0
        self._exhausted = False
        self._broken: BaseException | None = None

    def flow(self) -> BatchFlow[None]:
        """Read, send and give until the source has ended and everything is given."""
        while True:
            self._process_ended()
            while (job := self._next_job()) is not None:
                yield from self._begin(job)
            outcome = self._outcomes.take()
            if outcome is not None:
                self._given += 1
                if self._plan.raises and isinstance(outcome, TFServingError):
                    raise outcome
                yield Give(outcome)
            ahead = self._plan.concurrency.ahead * self._plan.batch_size
            may_read = not self._exhausted and self._read - self._given < ahead
            if may_read and self._accept((yield READ)):
                continue
            if outcome is not None or self._inbox:
                continue
            if self._exhausted and self._read == self._given:
                if self._broken is not None:
                    raise self._broken
                return
            if not may_read and self._pipeline.wants_rows and (rest := self._groups.oldest()) is not None:
                self._pipeline.add(rest)  # no more is read for it
                continue
            yield Wait(self._time_to_wait())

    def _accept(self, answer: object) -> bool:
        """Accept what the source gave; returns whether that was anything. Examples are copied: it may refill them."""
        if answer is NOT_YET:
            return False
        if answer is END:
            self._exhausted = True
            return True
        if isinstance(answer, SourceError):  # raised after the results of earlier examples
            self._exhausted, self._broken = True, answer.error
            return True
        number, self._read = self._read, self._read + 1
        try:
            example = read_example(answer)
            row = self._appended(number, example)
        except TFServingError as error:
            self._put_error(number, error)
            return True
        batch = self._groups.add(example.kind, row, self._clock())
        if batch is not None:
            self._pipeline.add(batch)
        return True

    def _appended(self, number: int, example: Example) -> NumberedRow:
        first = self._groups.first(example.kind)
        buffer = first.buffer if first else self._memory.buffer(self._groups.batch_size)
        return NumberedRow(number, buffer, buffer.append(example), self._clock())

    def _next_job(self) -> Job[list[NumberedRow]] | None:
        now = self._clock()
        if self._pipeline.wants_rows and (batch := self._groups.due(now)) is not None:
            self._pipeline.add(batch)
        job = self._pipeline.next(now)
        self._groups.batch_size = self._pipeline.batch_size  # the server may have reported a limit
        return job

    def _begin(self, job: Job[list[NumberedRow]]) -> BatchFlow[None]:
        try:
            found = request_inputs(job.rows, self._plan.shared)
        except TFServingError as error:
            self._inbox.append(Ended(job, None, error))
            return
        yield Begin(job, found, Batch("predict_many", len(job.rows), job.began - job.rows[0].came))

    def _process_ended(self) -> None:
        """Turn ended requests into outcomes."""
        while self._inbox:
            job, prediction, error = self._inbox.popleft()
            now = self._clock()
            if prediction is not None:
                self._pipeline.answered(job, now, prediction)
                try:
                    results = split_prediction(prediction, [row.number for row in job.rows])
                except TFServingError as wrong:  # applies to all such replies: asking for fewer rows does not help
                    self._fail(job.rows, wrong)
                    continue
                for row, result in zip(job.rows, results, strict=True):
                    self._outcomes.put(row.number, result)
                self._counts.done += len(results)
                self._counts.waiting = self._pipeline.refused
                continue
            assert error is not None
            if isinstance(error, (ClosedError, ConfigError)) or not isinstance(error, TFServingError):
                raise error  # not the fault of any example
            if self._pipeline.failed(job, error, now):
                self._fail(job.rows, error)
            self._counts.waiting = self._pipeline.refused

    def _fail(self, rows: Sequence[NumberedRow], error: TFServingError) -> None:
        for row in rows:
            self._put_error(row.number, error)

    def _put_error(self, number: int, error: TFServingError) -> None:
        self._outcomes.put(number, _of_example(error, number))
        self._counts.failed += 1

    def _time_to_wait(self) -> float | None:
        """Seconds until there is work even if no request ends; None without work."""
        now = self._clock()
        due = self._groups.next_due() if self._pipeline.wants_rows else None
        pauses = [self._pipeline.wait(now), None if due is None else max(0.0, due - now)]
        return min((pause for pause in pauses if pause is not None), default=None)


def _of_example(error: TFServingError, number: int) -> TFServingError:
    own = with_place(error, f"This is the error of example {number}.")
    if own is not error:  # otherwise it could not be copied, and other examples share it
        own.example = number
    return own


class _Outcomes(Protocol):
    def put(self, number: int, outcome: Outcome) -> None: ...

    def take(self) -> Outcome | None: ...


class _Ordered:
    """Outcomes in the order of the examples."""

    def __init__(self) -> None:
        self._ready: dict[int, Outcome] = {}
        self._next = 0

    def put(self, number: int, outcome: Outcome) -> None:
        self._ready[number] = outcome

    def take(self) -> Outcome | None:
        outcome = self._ready.pop(self._next, None)
        self._next += outcome is not None
        return outcome


class _Unordered:
    """Outcomes as soon as they arrive."""

    def __init__(self) -> None:
        self._ready: deque[Outcome] = deque()

    def put(self, number: int, outcome: Outcome) -> None:
        self._ready.append(outcome)

    def take(self) -> Outcome | None:
        return self._ready.popleft() if self._ready else None
