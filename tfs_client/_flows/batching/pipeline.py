"""Pipeline: which rows are sent next, and what happens to those whose request failed.

It has no clock, no thread and no network: times are passed in, and requests are handed out as jobs.

What must hold: every row is answered or fails exactly once, rows are sent in order as far as failures allow, and no
row fails because of another. So a failed request is not an end but one of four things (``recovery``):

- **Fewer rows.** The server does not accept a request of this size. The batch size shrinks, for this job and all later
  ones, and the job goes back to the front in parts. If the server stated its limit, the batch size never exceeds it
  again; otherwise (a lack of memory, for example) it doubles after every ``REGROW`` answers, because the limit may have
  been temporary, or due to large rows.
- **Retry later.** The server is busy. The job waits as a whole, behind those that were refused before it, and the
  concurrency limit says when the next may be sent. It fails only when the server, since the job's first refusal, has
  answered *nothing* for as long as ``_patience`` allows, or asks to wait longer than that: as long as others are
  answered, its turn will come.
- **Split.** At least one row is at fault. The job goes back to the front in halves, down to single rows, so that only
  faulty rows fail: n bad rows among N cost at most about 2 n log2(N) requests. ``predict_batched``, which fails as a
  whole anyway, does without (``isolate=False``).
- **Give up.** Sending again would not help: all rows of the job fail.

Parts go to the front, in order, because results are given in order and later ones would wait for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit
from tfs_client._flows.batching.recovery import FewerRows, RetryLater, SplitRows, recovery_from
from tfs_client.errors import CallError
from tfs_client.results import Prediction

Rows = TypeVar("Rows", bound=Sequence[object])

# How long a busy server may refuse the same rows without answering any others. It depends on the time of an answer:
# where answers take long and many clients share the server, the next turn comes late.
PATIENCE = 30.0  # seconds, or
PATIENCE_ANSWERS = 2000  # times of an answer, whichever is longer, but at most
LONGEST_PATIENCE = 600.0  # seconds
TICK = 1e-6  # seconds that make no difference
REGROW = 64  # answers after which the batch size doubles again, unless the server stated its limit


@dataclass(eq=False)
class Job(Generic[Rows]):
    """The rows of one request.

    Attributes:
        rows: a list of the rows, or a range of their positions.
        began: when the request was sent.
        refused: when a busy server first refused it; None if none has.
        attempts: how often a busy server has refused it.
    """

    rows: Rows
    began: float = 0.0
    refused: float | None = None
    attempts: int = 0


class Pipeline(Generic[Rows]):
    """Rows that wait to be sent, and the number of requests under way.

    Args:
        concurrency: how many requests may be under way.
        batch_size: maximum rows in a request. It shrinks when the server reports a lower limit.
        isolate: whether a faulty row fails alone: a request that the server refuses for its rows is then sent again in
            halves, down to single rows.
    """

    def __init__(self, concurrency: ConcurrencyLimit, batch_size: int, *, isolate: bool) -> None:
        self.concurrency = concurrency
        self.batch_size = batch_size
        self._most = batch_size
        self._isolate = isolate
        self._waiting: deque[Job[Rows]] = deque()
        self._under_way = 0
        self._answers = 0  # since the batch size changed
        self._answered = float("-inf")  # when the last answer came

    def add(self, rows: Rows) -> None:
        """Add rows to send; more than ``batch_size`` are split into several requests."""
        self._waiting.append(Job(rows))

    @property
    def idle(self) -> bool:
        """Whether no rows wait and no request is under way."""
        return not self._waiting and not self._under_way

    @property
    def wants_rows(self) -> bool:
        """Whether another request may be sent but no rows wait."""
        return not self._waiting and self._under_way < self.concurrency.limit

    @property
    def refused(self) -> int:
        """The number of rows that a busy server refused, and that wait to be sent again."""
        return sum(len(job.rows) for job in self._waiting if job.refused is not None)

    def next(self, now: float) -> Job[Rows] | None:
        """The job to send now; None if no rows wait, too many requests are under way, or it is too early."""
        if not self._waiting or (self.wait(now) or 0.0) > 0.0 or self._under_way >= self.concurrency.limit:
            return None
        job = self._waiting.popleft()
        if len(job.rows) > self.batch_size:
            rest = _part(job.rows, self.batch_size, len(job.rows))  # in one piece, because the batch size may change
            self._waiting.appendleft(replace(job, rows=rest))
            job = replace(job, rows=_part(job.rows, 0, self.batch_size))
        job.began = now
        self._under_way += 1
        return job

    def wait(self, now: float) -> float | None:
        """Seconds until ``next`` returns a job even if no answer arrives; None if only an answer changes that."""
        at = self.concurrency.earliest(self._under_way) if self._waiting else None
        if at is None:
            return None
        return at - now if at - now > TICK else 0.0

    def answered(self, job: Job[Rows], now: float, prediction: Prediction | None = None) -> None:
        """Record that a job was answered. The attempts that a busy server refused count as those of the prediction."""
        if job.attempts and prediction is not None and prediction.attempts:  # 0 if unknown
            prediction._facts.attempts += job.attempts
        self._under_way -= 1
        self._answered = now
        self.concurrency.answered(job.began, now, self._under_way)
        self._answers += 1
        if self.batch_size < self._most and self._answers >= REGROW:
            self._resize(min(self._most, 2 * self.batch_size))

    def failed(self, job: Job[Rows], error: BaseException, now: float) -> bool:
        """Record that a job failed. Returns whether its rows failed permanently; otherwise all of them wait again."""
        self._under_way -= 1
        if isinstance(error, CallError):
            error.attempts += job.attempts
        rows = len(job.rows)
        recovery = recovery_from(error, rows)
        if isinstance(recovery, FewerRows):
            if recovery.always:
                self._most = min(self._most, recovery.most)
            self._resize(min(self.batch_size, recovery.most))
            self._put_back(job, self.batch_size)
            return False
        if isinstance(recovery, RetryLater):
            self.concurrency.refused(job.began, now, self._under_way, recovery.seconds)
            return not self._retries(job, error, now)
        if isinstance(recovery, SplitRows) and self._isolate and rows > 1:
            self._put_back(job, (rows + 1) // 2)
            return False
        return True

    def discarded(self) -> None:
        """Record that a job from ``next`` is not sent, because all its callers have given up."""
        self._under_way -= 1

    def withdraw(self) -> list[Rows]:
        """Remove and return all waiting rows."""
        rows = [job.rows for job in self._waiting]
        self._waiting.clear()
        return rows

    def _retries(self, job: Job[Rows], error: BaseException, now: float) -> bool:
        """Let a refused job wait for another attempt. Returns False when the server has refused it for too long."""
        job.refused = now if job.refused is None else job.refused
        job.attempts = error.attempts if isinstance(error, CallError) else job.attempts + 1
        since = max(job.refused, self._answered)
        at = self.concurrency.earliest(self._under_way)
        if max(now, now if at is None else at) - since > self._patience():
            if isinstance(error, CallError):
                error.hint = (
                    f"{error.hint}\nThe server was busy and answered no request for {now - since:.0f} s.".strip()
                )
            return False
        later = (at for at, other in enumerate(self._waiting) if other.refused is None or other.refused > job.refused)
        self._waiting.insert(next(later, len(self._waiting)), job)  # the one refused first goes first
        return True

    def _patience(self) -> float:
        return max(PATIENCE, min(LONGEST_PATIENCE, PATIENCE_ANSWERS * (self.concurrency.usual or 0.0)))

    def _resize(self, batch_size: int) -> None:
        self.batch_size, self._answers = batch_size, 0

    def _put_back(self, job: Job[Rows], size: int) -> None:
        """Put a job back before all others, in parts of ``size`` rows."""
        starts = reversed(range(0, len(job.rows), size))
        self._waiting.extendleft(replace(job, rows=_part(job.rows, start, start + size)) for start in starts)


def _part(rows: Rows, start: int, stop: int) -> Rows:
    return cast(Rows, rows[start:stop])  # a slice of a list is a list, a slice of a range is a range
