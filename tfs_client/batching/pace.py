"""Pace: how many requests may be under way at once. Times are passed in; nothing here waits or looks at a clock."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Protocol

from tfs_client.batching.congestion import CongestionWindow, _random
from tfs_client.errors import ConfigError
from tfs_client.shown import shown

MOST = 32  # requests that ``Adaptive`` has under way at the most; over REST no more are made at once either
START = 2  # requests to begin with: one while the answer to the other travels
ROUND = 4  # answers that are looked at together, at the least
SLOW = 2.0  # times the best round: a slower one says that requests wait for each other
LESS = 0.75  # of what was under way: what remains when requests wait for each other
AGE = 50  # rounds for which the best one counts; then the pace halves for a look at what is the best now


class Pace(Protocol):
    """Decides how many requests are under way.

    Attributes:
        usual: seconds that an answer usually takes; None before the first.
    """

    usual: float | None

    @property
    def limit(self) -> int:
        """How many may be under way now, one at the least."""

    @property
    def ahead(self) -> int:
        """For how many requests rows should be at hand."""

    def earliest(self, under_way: int) -> float | None:
        """When one more may be sent while so many are under way; None: when one of them has ended."""

    def answered(self, began: float, now: float, under_way: int) -> None:
        """A request that was sent at ``began`` has its answer; ``under_way`` others have none yet."""

    def refused(self, began: float, now: float, under_way: int, seconds: float | None) -> None:
        """A request that was sent at ``began`` was refused because the server has too many; it may ask to wait."""


class Fixed(CongestionWindow):
    """A number of requests, or as many of them as the server takes."""


class Adaptive(CongestionWindow):
    """As many as the server works on at once, found by trying: additive increase, multiplicative decrease.

    It doubles the limit until answers come slower, then adds one for every round of answers. Rounds that take twice as
    long as the best one mean that requests wait for each other: the limit falls by a quarter. So it settles where more
    requests bring no more answers. Every now and then it halves to learn how fast answers come without waiting, for
    models and machines change. A server that refuses requests says more than that: then the congestion window counts.
    """

    def __init__(self, most: int = MOST, chance: Callable[[], float] = _random) -> None:
        super().__init__(most, chance)
        self._useful = START  # more would wait for each other
        self._doubling = True
        self._round: list[float] = []
        self._best: float | None = None
        self._age = 0
        self._slow = 0  # slow rounds in a row
        self._changed = float("-inf")  # when the limit last fell: what was sent before says nothing about the new one

    @property
    def limit(self) -> int:
        """How many may be under way, one at the least."""
        return min(self._useful, super().limit)

    @property
    def ahead(self) -> int:
        """For how many requests rows should be at hand."""
        return self._useful

    def answered(self, began: float, now: float, under_way: int) -> None:
        """The round is judged once it is full."""
        super().answered(began, now, under_way)
        if began < self._changed:
            return
        self._round.append(now - began)
        if len(self._round) < (self.limit if self._doubling else max(self.limit, ROUND)):
            return
        seconds = sorted(self._round)[len(self._round) // 2]
        self._round.clear()
        self._age += 1
        if self._best is None or seconds < self._best:
            self._best = seconds
        if self._age >= AGE:
            self._age, self._best = 0, None
            self._slow_down(0.5, now, least=1)
        elif seconds > SLOW * self._best:
            self._doubling = False
            self._slow += 1
            if self._slow == 2:  # one slow round may be anybody's fault
                if self._useful <= START:  # so few do not wait for each other: the server itself became slower
                    self._age, self._best = 0, None
                self._slow_down(LESS, now, least=min(START, self._useful))
        else:
            self._slow = 0
            if self._useful <= super().limit:
                self._useful = min(self._most, 2 * self._useful if self._doubling else self._useful + 1)

    def refused(self, began: float, now: float, under_way: int, seconds: float | None) -> None:
        """No more are useful than the server takes, and one that is tried."""
        super().refused(began, now, under_way, seconds)
        self._doubling = False
        self._useful = min(self._useful, super().limit + 1)

    def _slow_down(self, share: float, now: float, least: int) -> None:
        self._useful = max(least, int(self.limit * share))
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
        raise ConfigError(f"expected in_flight as a number of requests, at least 1, or 'auto', got {shown(in_flight)}")
    return Fixed(limit)
