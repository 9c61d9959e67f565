"""Deadline: the time by which all steps of a call must be done."""

from __future__ import annotations

import time


class Deadline:
    """The time by which all steps of a call must be done; each step gets the remaining time.

    Attributes:
        limit: the caller's timeout in seconds; None for no limit.
        started: the start, on the monotonic clock.
        at: the deadline, on the monotonic clock; None for no limit.
    """

    __slots__ = ("at", "limit", "started")

    def __init__(self, limit: float | None) -> None:
        self.limit: float | None = limit
        self.started: float = time.monotonic()
        self.at: float | None = None if limit is None else self.started + limit

    @classmethod
    def after(cls, timeout: float | None) -> Deadline:
        """``timeout`` seconds from now."""
        return cls(timeout)

    def remaining(self) -> float | None:
        """Seconds left, at least a millisecond: after the deadline a call is still made, and fails by it."""
        if self.at is None:
            return None
        left = self.at - time.monotonic()
        return left if left > 0.001 else 0.001  # max() would be another call

    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.at is not None and time.monotonic() >= self.at

    def sooner(self, seconds: float) -> Deadline:
        """The earlier one of this deadline and ``seconds`` from now."""
        other = Deadline(seconds)
        return self if self.at is not None and other.at is not None and self.at < other.at else other
