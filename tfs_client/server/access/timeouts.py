"""Timeouts of a connection: its phase, the start of the phase, and whether it has taken too long.

Pure code: times and byte counts are arguments. Connections are checked periodically, so calls do not get slower.
"""

from __future__ import annotations

import math
from enum import Enum

from tfs_client.server.access.bounds import Bounds

BYTES_PER_SECOND = 16384  # the speed that a body or an answer needs once its timeout is over


class Phase(Enum):
    """The phase of a connection.

    IDLE: no request. HEAD: the head of a request is arriving. BODY: its body is arriving. CALL: the server works on it.
    UNREAD: the rest of a refused body is arriving. ANSWER: the client reads the answer.
    """

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    CALL = "call"
    UNREAD = "unread"
    ANSWER = "answer"


class Timeouts:
    """Measures the time that a connection spends in its phase.

    Attributes:
        phase: the phase at the last check.
        since: the time of the first check in this phase.
    """

    __slots__ = ("_limits", "_request", "_start", "phase", "since")

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._limits = {
            Phase.IDLE: bounds.idle_timeout,
            Phase.HEAD: bounds.rest_header_timeout,
            Phase.BODY: bounds.rest_body_timeout,
            Phase.CALL: math.inf,
            Phase.UNREAD: bounds.rest_body_timeout,
            Phase.ANSWER: bounds.rest_write_timeout,
        }
        self._request = self._start = 0
        self.phase: Phase = Phase.IDLE
        self.since: float = now

    def expired(self, phase: Phase, request: int, moved: int, now: float) -> bool:
        """Check the connection; True if its phase has taken too long.

        Args:
            phase: its phase now.
            request: the number of its request; a new one restarts the timeout.
            moved: the bytes that have arrived, or left, so far; they extend the timeouts of a body and an answer.
            now: the current time.
        """
        if phase is not self.phase or request != self._request:
            self.phase, self._request, self._start, self.since = phase, request, moved, now
        limit = self._limits[phase]
        if phase is Phase.BODY or phase is Phase.ANSWER:
            limit += max(moved - self._start, 0) / BYTES_PER_SECOND
        return now - self.since > limit


def interval(bounds: Bounds) -> float:
    """Return the period of checks in seconds."""
    shortest = min(bounds.idle_timeout, bounds.rest_header_timeout, bounds.rest_body_timeout, bounds.rest_write_timeout)
    return min(max(shortest / 4, 0.02), 1.0)
