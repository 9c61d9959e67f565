"""Connections: the open ones, their limit, and which are closed to make room or because they are slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from tfs_client.server.access.bounds import Bounds
from tfs_client.server.access.timeouts import Phase, Timeouts, interval

LEAST_IDLE = 0.5  # seconds; a client that connects to make a call has begun to send it by then
SEARCH_PAUSE = 0.1  # seconds between two searches for idle connections, of which the first found none
SHARE = 16  # of all connections the part that is closed at once, if so many are idle


class Connection(Protocol):
    """What ``Connections`` needs of a connection."""

    timeouts: Timeouts

    def look(self, now: float) -> bool:
        """Look at what it does; True when that has taken too long."""

    def expire(self) -> None:
        """End it, in the way that its phase requires."""

    def leave(self) -> None:
        """End it because it is idle and others need its place."""


class Connections:
    """The open connections of a port, on one event loop.

    Args:
        opened: all of them, kept by their creator.
        bounds: how many and how slow they may be.
        loop: the event loop, whose clock counts.
    """

    def __init__(self, opened: Iterable[Connection], bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        self._opened = opened
        self._loop = loop
        self._interval = interval(bounds)
        self._searched = -SEARCH_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self.limit = bounds.connections

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
        """Close the connections that have been idle longest; returns how many."""
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
