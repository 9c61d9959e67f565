"""The flow of ``predict_many``: examples from a source, a result for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tfs_client.batching.batch_buffer import BatchBuffer, BatchMemory, inputs
from tfs_client.batching.examples import Example, example_of, taken_apart
from tfs_client.batching.gathering import Gathering
from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Job, Pipeline
from tfs_client.batching.steps import END, NOT_YET, READ, BatchFlow, Begin, Broken, Ended, Give, Inbox, Wait
from tfs_client.batching.verdicts import with_place
from tfs_client.errors import ClosedError, ConfigError, TFServingError
from tfs_client.results import Prediction

Outcome = Prediction | TFServingError


class Plan(NamedTuple):
    """How examples are sent; see ``PredictClient.predict_many``."""

    batch_size: int
    pace: Pace
    ordered: bool
    raises: bool
    max_delay: float | None
    shared: Mapping[str, Any]


class Numbered(NamedTuple):
    """An example's place in the source, and its row's in a batch."""

    number: int
    buffer: BatchBuffer
    at: int


class Many:
    """One run of ``predict_many``.

    Args:
        plan: how examples are sent.
        inbox: where ended calls come to.
        clock: seconds, ever growing.
    """

    def __init__(self, plan: Plan, inbox: Inbox, clock: Callable[[], float]) -> None:
        self._plan = plan
        self._inbox = inbox
        self._clock = clock
        self._pipeline: Pipeline[list[Numbered]] = Pipeline(plan.pace, plan.batch_size, alone=True)
        self._gathering: Gathering[Numbered] = Gathering(plan.batch_size, plan.max_delay)
        self._memory = BatchMemory()
        self._outcomes: _Outcomes = _InOrder() if plan.ordered else _AsTheyCome()
        self._read = self._given = 0
        self._exhausted = False
        self._broken: BaseException | None = None

    def flow(self) -> BatchFlow[None]:
        """Read, send and give until the source is at its end and everything is given."""
        while True:
            self._sort_out()
            while (job := self._next_job()) is not None:
                yield from self._begin(job)
            outcome = self._outcomes.take()
            if outcome is not None:
                self._given += 1
                if self._plan.raises and isinstance(outcome, TFServingError):
                    raise outcome
                yield Give(outcome)
            may_read = not self._exhausted and self._read - self._given < self._plan.pace.ahead * self._plan.batch_size
            if may_read and self._take_in((yield READ)):
                continue
            if outcome is not None or self._inbox:
                continue
            if self._exhausted and self._read == self._given:
                if self._broken is not None:
                    raise self._broken
                return
            if not may_read and self._pipeline.hungry and (rest := self._gathering.oldest()) is not None:
                self._pipeline.add(rest)  # it will not become fuller
                continue
            yield Wait(self._patience())

    def _take_in(self, answer: Any) -> bool:
        """What the source gave; whether that was something. It is copied, for the source may fill it anew."""
        if answer is NOT_YET:
            return False
        if answer is END:
            self._exhausted = True
            return True
        if isinstance(answer, Broken):  # first the results of what it gave before
            self._exhausted, self._broken = True, answer.error
            return True
        number, self._read = self._read, self._read + 1
        try:
            example = example_of(answer)
            row = self._appended(number, example)
        except TFServingError as error:
            self._outcomes.put(number, _of_example(error, number))
            return True
        batch = self._gathering.add(example.kind, row, self._clock())
        if batch is not None:
            self._pipeline.add(batch)
        return True

    def _appended(self, number: int, example: Example) -> Numbered:
        first = self._gathering.first(example.kind)
        buffer = first.buffer if first else self._memory.buffer(self._gathering.batch_size)
        return Numbered(number, buffer, buffer.append(example))

    def _next_job(self) -> Job[list[Numbered]] | None:
        now = self._clock()
        if self._pipeline.hungry and (batch := self._gathering.due(now)) is not None:
            self._pipeline.add(batch)
        job = self._pipeline.next(now)
        self._gathering.batch_size = self._pipeline.batch_size  # the server may have said that it takes fewer
        return job

    def _begin(self, job: Job[list[Numbered]]) -> BatchFlow[None]:
        try:
            found = inputs(job.rows, self._plan.shared)
        except TFServingError as error:
            self._inbox.append(Ended(job, None, error))
            return
        yield Begin(job, found)

    def _sort_out(self) -> None:
        """Make outcomes of the calls that have ended."""
        while self._inbox:
            job, prediction, error = self._inbox.popleft()
            now = self._clock()
            if prediction is not None:
                self._pipeline.answered(job, now)
                try:
                    results = taken_apart(prediction, [row.number for row in job.rows])
                except TFServingError as wrong:  # all such replies are: no use in asking for fewer rows
                    self._fail(job.rows, wrong)
                    continue
                for row, result in zip(job.rows, results, strict=True):
                    self._outcomes.put(row.number, result)
                continue
            assert error is not None
            if isinstance(error, (ClosedError, ConfigError)) or not isinstance(error, TFServingError):
                raise error  # nothing that an example could be blamed for
            if self._pipeline.failed(job, error, now):
                self._fail(job.rows, error)

    def _fail(self, rows: Sequence[Numbered], error: TFServingError) -> None:
        for row in rows:
            self._outcomes.put(row.number, _of_example(error, row.number))

    def _patience(self) -> float | None:
        """Seconds until there is something to do even if no call ends."""
        now = self._clock()
        due = self._gathering.next_due() if self._pipeline.hungry else None
        pauses = [self._pipeline.wait(now), None if due is None else max(0.0, due - now)]
        return min((pause for pause in pauses if pause is not None), default=None)


def _of_example(error: TFServingError, number: int) -> TFServingError:
    own = with_place(error, f"It was about example {number}.")
    if own is not error:  # else it is that of others too
        own.example = number
    return own


class _Outcomes(Protocol):
    def put(self, number: int, outcome: Outcome) -> None: ...

    def take(self) -> Outcome | None: ...


class _InOrder:
    """Outcomes in the order of the examples."""

    def __init__(self) -> None:
        self._there: dict[int, Outcome] = {}
        self._next = 0

    def put(self, number: int, outcome: Outcome) -> None:
        self._there[number] = outcome

    def take(self) -> Outcome | None:
        outcome = self._there.pop(self._next, None)
        self._next += outcome is not None
        return outcome


class _AsTheyCome:
    """Outcomes as soon as they are there."""

    def __init__(self) -> None:
        self._there: deque[Outcome] = deque()

    def put(self, number: int, outcome: Outcome) -> None:
        self._there.append(outcome)

    def take(self) -> Outcome | None:
        return self._there.popleft() if self._there else None
