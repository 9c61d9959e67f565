"""Connections: the open connections of a port, their limit, and the closing of idle and slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from tfs_client.server.access.bounds import Bounds
from tfs_client.server.access.timeouts import Phase, Timeouts, interval

LEAST_IDLE = 0.5  # seconds; a client that connects for a call has begun to send it by then
SEARCH_PAUSE = 0.1  # seconds without a search after a search that found no idle connections
SHARE = 16  # one in so many connections is closed at once, if they are idle


class Connection(Protocol):
    """The interface of a connection that ``Connections`` uses."""

    timeouts: Timeouts

    def look(self, now: float) -> bool:
        """Check the phase of the connection. True if it has taken too long."""

    def expire(self) -> None:
        """Close it as its phase requires."""

    def leave(self) -> None:
        """Close it because it is idle and others need its place."""


class Connections:
    """The open connections of a port, on one event loop.

    Args:
        opened: the open connections; their owner updates it.
        bounds: the limits of their number and their timeouts.
        loop: the event loop, whose clock is used.
    """

    def __init__(self, opened: Iterable[Connection], bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        self._opened = opened
        self._loop = loop
        self._interval = interval(bounds)
        self._searched = -SEARCH_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self.limit: int = bounds.connections

    def start(self) -> None:
        """Start to check the connections periodically."""
        self._timer = self._loop.call_later(self._interval, self._look)

    def stop(self) -> None:
        """Stop checking them."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for connection in list(self._opened):
            if connection.look(now):
                connection.expire()
        self.start()

    def make_room(self) -> int:
        """Close the connections that have been idle longest, and return their number."""
        now = self._loop.time()
        if now < self._searched + SEARCH_PAUSE:
            return 0
        for connection in list(self._opened):
            connection.look(now)
        idle = [
            each
            for each in self._opened
            if each.timeouts.phase is Phase.IDLE and now - each.timeouts.since >= LEAST_IDLE
        ]
        if not idle:
            self._searched = now
        idle.sort(key=lambda each: each.timeouts.since)
        leaving = idle[: max(self.limit // SHARE, 1)]
        for connection in leaving:
            connection.leave()
        return len(leaving)
