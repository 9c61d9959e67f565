"""Pipeline: which rows are sent next, and what becomes of those whose request failed.

It has no clock, no thread and no network: times are passed in, and what is to be sent is given out as jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tfs_client.batching.pace import Pace
from tfs_client.batching.verdicts import Blamed, Busy, TooLarge, judge

Rows = TypeVar("Rows", bound=Sequence[Any])

PATIENCE = 30.0  # seconds for which a server may refuse the same rows because it is busy
FIRST_PAUSE = 0.005  # seconds after a refusal; twice as long after each further one
LONGEST_PAUSE = 1.0


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
        self._alone = alone
        self._waiting: deque[Job[Rows]] = deque()
        self._under_way = 0
        self._pause = 0.0
        self._resume = float("-inf")  # when the server may be asked again

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
        if not self._waiting or self._under_way >= self.pace.limit or now < self._resume:
            return None
        job = self._waiting.popleft()
        if len(job.rows) > self.batch_size:
            self._put_back(job, self.batch_size)
            job = self._waiting.popleft()
        job.began = now
        self._under_way += 1
        return job

    def wait(self, now: float) -> float | None:
        """Seconds after which ``next`` has more to give even if nothing is answered; None when waiting is no use."""
        if self._waiting and self._under_way < self.pace.limit:
            return max(0.0, self._resume - now)
        return None

    def answered(self, job: Job[Rows], now: float) -> None:
        """The job is done."""
        self._under_way -= 1
        self._pause = 0.0
        self.pace.answered(job.began, now)

    def failed(self, job: Job[Rows], error: BaseException, now: float) -> bool:
        """Whether the rows of the job have failed for good; otherwise they wait again, all of them."""
        self._under_way -= 1
        rows = len(job.rows)
        verdict = judge(error, rows)
        if isinstance(verdict, TooLarge):
            self.batch_size = min(self.batch_size, verdict.most)
            self._put_back(job, self.batch_size)
            return False
        if isinstance(verdict, Busy):
            self.pace.refused(job.began, now)
            job.refused = now if job.refused is None else job.refused
            if now - job.refused >= PATIENCE:
                return True
            self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
            self._resume = now + (self._pause if verdict.seconds is None else verdict.seconds)
            self._waiting.appendleft(job)
            return False
        if isinstance(verdict, Blamed) and self._alone and rows > 1:
            self._put_back(job, (rows + 1) // 2)
            return False
        return True

    def dropped(self) -> None:
        """A job was given out, and nobody wants it sent any more."""
        self._under_way -= 1

    def _put_back(self, job: Job[Rows], size: int) -> None:
        """A job waits again, in parts of ``size`` rows, before all others."""
        starts = range(0, len(job.rows), size)
        parts: list[Any] = [job.rows[start : start + size] for start in starts]
        self._waiting.extendleft(Job(part, refused=job.refused) for part in reversed(parts))
