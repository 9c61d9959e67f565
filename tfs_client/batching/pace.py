"""Pace: how many requests may be under way at once. Times are passed in; nothing here waits or looks at a clock."""

from __future__ import annotations

import operator
from typing import Protocol

from tfs_client.errors import ConfigError

MOST = 32  # requests that ``Adaptive`` has under way at the most; over REST no more are made at once either
START = 2  # requests to begin with: one while the answer to the other travels
ROUND = 4  # answers that are looked at together, at the least
SLOW = 2.0  # times the best round: a slower one says that requests wait for each other
LESS = 0.75  # of what was under way: what remains when requests wait for each other, or are refused
AGE = 50  # rounds for which the best one counts; then the pace halves for a look at what is the best now


class Pace(Protocol):
    """Decides how many requests are under way."""

    @property
    def limit(self) -> int:
        """How many may be under way now, one at the least."""

    def answered(self, began: float, ended: float) -> None:
        """A request that was sent at ``began`` has its answer."""

    def refused(self, began: float, ended: float) -> None:
        """A request that was sent at ``began`` was refused because the server has too many of them."""


class Fixed:
    """A number of requests. While the server refuses some of them, fewer; then one more for every round of answers."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._most = limit
        self._answers = 0
        self._changed = float("-inf")  # when the limit last fell

    def answered(self, began: float, ended: float) -> None:
        """Makes no difference unless the limit fell."""
        if self.limit < self._most and began >= self._changed:
            self._answers += 1
            if self._answers >= self.limit:
                self.limit, self._answers = self.limit + 1, 0

    def refused(self, began: float, ended: float) -> None:
        """Several refusals of what was sent together count as one."""
        if began >= self._changed:
            self.limit = max(1, int(self.limit * LESS))
            self._answers, self._changed = 0, ended


class Adaptive:
    """As many as the server works on at once, found by trying: additive increase, multiplicative decrease.

    It doubles the limit until answers come slower, then adds one for every round of answers. Rounds that take twice as
    long as the best one mean that requests wait for each other: the limit falls by a quarter. A refusal halves it.
    So it settles where more requests bring no more answers. Every now and then it halves to learn how fast answers
    come without waiting, for models and machines change.
    """

    def __init__(self, most: int = MOST) -> None:
        self.limit = START
        self._most = most
        self._doubling = True
        self._round: list[float] = []
        self._best: float | None = None
        self._age = 0
        self._slow = 0  # slow rounds in a row
        self._changed = float("-inf")  # when the limit last fell: what was sent before says nothing about the new one

    def answered(self, began: float, ended: float) -> None:
        """The round is judged once it is full."""
        if began < self._changed:
            return
        self._round.append(ended - began)
        if len(self._round) < (self.limit if self._doubling else max(self.limit, ROUND)):
            return
        seconds = sorted(self._round)[len(self._round) // 2]
        self._round.clear()
        self._age += 1
        if self._best is None or seconds < self._best:
            self._best = seconds
        if self._age >= AGE:
            self._age, self._best = 0, None
            self._fall(0.5, ended, least=1)
        elif seconds > SLOW * self._best:
            self._doubling = False
            self._slow += 1
            if self._slow == 2:  # one slow round may be anybody's fault
                if self.limit <= START:  # so few do not wait for each other: the server itself became slower
                    self._age, self._best = 0, None
                self._fall(LESS, ended, least=min(START, self.limit))
        else:
            self._slow = 0
            self.limit = min(self._most, 2 * self.limit if self._doubling else self.limit + 1)

    def refused(self, began: float, ended: float) -> None:
        """Several refusals of what was sent together count as one."""
        if began >= self._changed:
            self._fall(0.5 if self._doubling else LESS, ended, least=1)

    def _fall(self, share: float, now: float, least: int) -> None:
        self.limit = max(least, int(self.limit * share))
        self._doubling = False
        self._slow = 0
        self._round.clear()
        self._changed = now


def pace_of(in_flight: object) -> Pace:
    """The pace for ``in_flight``: a number of requests, or "auto". Raises ConfigError."""
    if isinstance(in_flight, str) and in_flight == "auto":
        return Adaptive()
    try:
        limit = 0 if isinstance(in_flight, bool) else operator.index(in_flight)  # type: ignore[arg-type]
    except TypeError:
        limit = 0
    if limit < 1:
        raise ConfigError(f"expected in_flight as a number of requests, at least 1, or 'auto', got {in_flight!r}")
    return Fixed(limit)
