"""ConcurrencyLimit: how many requests may be under way at once. Times are passed in; nothing here waits."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Protocol

from tfs_client._flows.batching.congestion import CongestionWindow, draw
from tfs_client._printable import shown
from tfs_client.errors import ConfigError

MOST = 32  # the highest limit of ``AdaptiveLimit``; over REST a client makes no more requests at once either
START = 2  # requests to begin with: one is served while the answer to the other travels
ROUND = 4  # answers that are judged together, at least
SLOW = 2.0  # times the best round: a slower round shows that requests wait for each other
LESS = 0.75  # the share of the limit that remains when requests wait for each other
AGE = 50  # rounds after which the best one expires; then the limit halves to measure again


class ConcurrencyLimit(Protocol):
    """Decides how many requests may be under way.

    Attributes:
        usual: seconds that an answer usually takes; None before the first.
    """

    usual: float | None

    @property
    def limit(self) -> int:
        """How many requests may be under way now, at least one."""

    @property
    def ahead(self) -> int:
        """For how many requests rows should be ready."""

    def earliest(self, under_way: int) -> float | None:
        """When another request may be sent with ``under_way`` in flight; None: not before one of them has ended."""

    def answered(self, began: float, now: float, under_way: int) -> None:
        """Record the answer to a request that was sent at ``began``; ``under_way`` others have none yet."""

    def refused(self, began: float, now: float, under_way: int, seconds: float | None) -> None:
        """Record that a busy server refused a request sent at ``began``; it may ask to wait for ``seconds``."""


class FixedLimit(CongestionWindow):
    """A fixed number of requests, or fewer while the server refuses some."""


class AdaptiveLimit(CongestionWindow):
    """As many requests as the server works on at once, found by additive increase and multiplicative decrease."""

    # What must hold: the limit settles where more requests bring no more answers per second, and it follows when the
    # model or the machine changes. The only signal is how long answers take:
    #
    # - The limit doubles until answers become slower, and from then on grows by one for every round of answers.
    # - A round that takes more than SLOW times as long as the best one shows that requests wait for each other. After
    #   two of them in a row (one alone may have any cause) the limit falls by a quarter.
    # - The best round is only comparable while nothing else changes. So every AGE rounds it expires, and the limit
    #   halves, to measure again how fast answers are when no request waits.
    # - Requests that were sent before the limit last fell say nothing about the new limit, so they are not counted.
    # - A refusal says more than any measurement: the congestion window then sets the limit.

    def __init__(self, most: int = MOST, chance: Callable[[], float] = draw) -> None:
        super().__init__(most, chance)
        self._useful = START  # more than these would wait for each other
        self._doubling = True
        self._round: list[float] = []
        self._best: float | None = None
        self._age = 0
        self._slow = 0  # slow rounds in a row
        self._changed = float("-inf")  # when the limit last fell

    @property
    def limit(self) -> int:
        """How many requests may be under way now, at least one."""
        return min(self._useful, super().limit)

    @property
    def ahead(self) -> int:
        """For how many requests rows should be ready."""
        return self._useful

    def answered(self, began: float, now: float, under_way: int) -> None:
        """Record an answer, and judge the round once it is full."""
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
            if self._slow == 2:
                if self._useful <= START:  # so few requests do not wait for each other: the server became slower
                    self._age, self._best = 0, None
                self._slow_down(LESS, now, least=min(START, self._useful))
        else:
            self._slow = 0
            if self._useful <= super().limit:
                self._useful = min(self._most, 2 * self._useful if self._doubling else self._useful + 1)

    def refused(self, began: float, now: float, under_way: int, seconds: float | None) -> None:
        """Record a refusal: the limit falls to what the server takes, plus one request to try."""
        super().refused(began, now, under_way, seconds)
        self._doubling = False
        self._useful = min(self._useful, super().limit + 1)

    def _slow_down(self, share: float, now: float, least: int) -> None:
        self._useful = max(least, int(self.limit * share))
        self._doubling = False
        self._slow = 0
        self._round.clear()
        self._changed = now


def concurrency_limit(in_flight: object) -> ConcurrencyLimit:
    """The limit that ``in_flight`` stands for: a number of requests, or "auto". Raises ConfigError."""
    if isinstance(in_flight, str) and in_flight == "auto":
        return AdaptiveLimit()
    try:
        limit = 0 if isinstance(in_flight, bool) else operator.index(in_flight)  # type: ignore[arg-type]
    except TypeError:
        limit = 0
    if limit < 1:
        raise ConfigError(f"expected in_flight as a number of requests, at least 1, or 'auto', got {shown(in_flight)}")
    return FixedLimit(limit)
