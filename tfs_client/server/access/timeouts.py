"""Timeouts of a connection: what it is doing, since when, and whether that has taken too long.

Nothing here uses a clock or a socket: time and byte counts are arguments. Connections are checked periodically, so
that this adds no cost to a call.
"""

from __future__ import annotations

import math
from enum import Enum

from tfs_client.server.access.bounds import Bounds

BYTES_PER_SECOND = 16384  # how fast a body or an answer must move, once its timeout is over


class Phase(Enum):
    """What a connection is doing.

    IDLE: it has no request. HEAD: a request's head has begun to arrive. BODY: its body arrives. CALL: the server works
    on it. UNREAD: what the client still sends of a body that was refused. ANSWER: the client reads the answer.
    """

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    CALL = "call"
    UNREAD = "unread"
    ANSWER = "answer"


class Timeouts:
    """The time that a connection has spent in its phase.

    Attributes:
        phase: the one that it was last seen in.
        since: when it was first seen in it.
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
        self.phase = Phase.IDLE
        self.since = now

    def expired(self, phase: Phase, request: int, moved: int, now: float) -> bool:
        """Check the connection; True if its phase has taken too long.

        Args:
            phase: what it is doing.
            request: which request that is for; another one starts the clock again.
            moved: how many bytes have arrived, or left, so far. A body and an answer get more time for them.
            now: the time.
        """
        if phase is not self.phase or request != self._request:
            self.phase, self._request, self._start, self.since = phase, request, moved, now
        limit = self._limits[phase]
        if phase is Phase.BODY or phase is Phase.ANSWER:
            limit += max(moved - self._start, 0) / BYTES_PER_SECOND
        return now - self.since > limit


def interval(bounds: Bounds) -> float:
    """How often connections are checked, in seconds."""
    shortest = min(bounds.idle_timeout, bounds.rest_header_timeout, bounds.rest_body_timeout, bounds.rest_write_timeout)
    return min(max(shortest / 4, 0.02), 1.0)
