"""Pipeline: which rows are sent next, and what becomes of those whose request failed.

It has no clock, no thread and no network: times are passed in, and what is to be sent is given out as jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from tfs_client.batching.pace import Pace
from tfs_client.batching.verdicts import Blamed, Busy, TooLarge, judge
from tfs_client.errors import CallError

Rows = TypeVar("Rows", bound=Sequence[Any])

# How long a busy server may refuse the same rows without answering any others: where an answer takes long, and many
# clients share the server, the next turn is far away.
PATIENCE = 30.0  # seconds, or
PATIENCE_ANSWERS = 2000  # times of an answer, whichever is longer, but
LONGEST_PATIENCE = 600.0  # seconds at the most
TICK = 1e-6  # seconds that make no difference
REGROW = 64  # answers after which more rows go in a request again, where too many were only too many at the time


@dataclass(eq=False)
class Job(Generic[Rows]):
    """Rows that go together in one request.

    Attributes:
        rows: a list of what they are, or a range of their positions.
        began: when the request was sent.
        refused: when it was first refused because the server is busy; None when it never was.
    """

    rows: Rows
    began: float = 0.0
    refused: float | None = None


class Pipeline(Generic[Rows]):
    """Rows that wait to be sent, and how many requests are under way.

    Args:
        pace: how many requests may be under way.
        batch_size: rows in a request, at the most. It shrinks when the server says that it takes fewer.
        alone: whether a row that is at fault fails alone: a request that fails for its rows is then tried again in
            halves, down to single rows.
    """

    def __init__(self, pace: Pace, batch_size: int, *, alone: bool) -> None:
        self.pace = pace
        self.batch_size = batch_size
        self._most = batch_size
        self._alone = alone
        self._waiting: deque[Job[Rows]] = deque()
        self._under_way = 0
        self._answers = 0  # since the batch size changed
        self._answered = float("-inf")  # when the last answer came

    def add(self, rows: Rows) -> None:
        """Rows that shall be sent; more than ``batch_size`` go in several requests."""
        self._waiting.append(Job(rows))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._waiting and not self._under_way

    @property
    def hungry(self) -> bool:
        """Whether another request could be under way, and nothing waits to be one."""
        return not self._waiting and self._under_way < self.pace.limit

    def next(self, now: float) -> Job[Rows] | None:
        """The job to send now; None when there is none, or too many are under way, or the server wants a pause."""
        if not self._waiting or (self.wait(now) or 0.0) > 0.0 or self._under_way >= self.pace.limit:
            return None
        job = self._waiting.popleft()
        if len(job.rows) > self.batch_size:
            rest: Any = job.rows[self.batch_size :]  # as one, for the batch size may change
            self._waiting.appendleft(Job(rest, refused=job.refused))
            job = Job(cast(Rows, job.rows[: self.batch_size]), refused=job.refused)
        job.began = now
        self._under_way += 1
        return job

    def wait(self, now: float) -> float | None:
        """Seconds after which ``next`` has more to give even if nothing is answered; None when waiting is no use."""
        at = self.pace.earliest(self._under_way) if self._waiting else None
        if at is None:
            return None
        return at - now if at - now > TICK else 0.0

    def answered(self, job: Job[Rows], now: float) -> None:
        """The job is done."""
        self._under_way -= 1
        self._answered = now
        self.pace.answered(job.began, now, self._under_way)
        self._answers += 1
        if self.batch_size < self._most and self._answers >= REGROW:
            self._resize(min(self._most, 2 * self.batch_size))

    def failed(self, job: Job[Rows], error: BaseException, now: float) -> bool:
        """Whether the rows of the job have failed for good; otherwise they wait again, all of them."""
        self._under_way -= 1
        rows = len(job.rows)
        verdict = judge(error, rows)
        if isinstance(verdict, TooLarge):
            if verdict.always:
                self._most = min(self._most, verdict.most)
            self._resize(min(self.batch_size, verdict.most))
            self._put_back(job, self.batch_size)
            return False
        if isinstance(verdict, Busy):
            self.pace.refused(job.began, now, self._under_way, verdict.seconds)
            return not self._again(job, error, now)
        if isinstance(verdict, Blamed) and self._alone and rows > 1:
            self._put_back(job, (rows + 1) // 2)
            return False
        return True

    def dropped(self) -> None:
        """A job was given out, and nobody wants it sent any more."""
        self._under_way -= 1

    def withdraw(self) -> list[Rows]:
        """All rows that wait; they are not sent any more."""
        rows = [job.rows for job in self._waiting]
        self._waiting.clear()
        return rows

    def _again(self, job: Job[Rows], error: BaseException, now: float) -> bool:
        """Whether a job that a busy server refused waits for another attempt."""
        job.refused = now if job.refused is None else job.refused
        since = max(job.refused, self._answered)
        at = self.pace.earliest(self._under_way)
        if max(now, now if at is None else at) - since > self._patience():
            if isinstance(error, CallError):
                error.hint = (
                    f"{error.hint}\nThe server was busy and answered no request for {now - since:.0f} s.".strip()
                )
            return False
        later = (at for at, other in enumerate(self._waiting) if other.refused is None or other.refused > job.refused)
        self._waiting.insert(next(later, len(self._waiting)), job)  # who was refused first goes first
        return True

    def _patience(self) -> float:
        return max(PATIENCE, min(LONGEST_PATIENCE, PATIENCE_ANSWERS * (self.pace.usual or 0.0)))

    def _resize(self, batch_size: int) -> None:
        self.batch_size, self._answers = batch_size, 0

    def _put_back(self, job: Job[Rows], size: int) -> None:
        """A job waits again, in parts of ``size`` rows, before all others."""
        starts = range(0, len(job.rows), size)
        parts: list[Any] = [job.rows[start : start + size] for start in starts]
        self._waiting.extendleft(Job(part, refused=job.refused) for part in reversed(parts))
