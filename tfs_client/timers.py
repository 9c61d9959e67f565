"""Timers: functions that are called later, by one daemon thread for the whole process.

The first timer starts the thread, and it ends when there has been none for a while. Nobody joins it, so a process ends
whatever timers are left. A forked process starts afresh: it touches neither the timers of its parent nor their lock,
which another thread of the parent may have held.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from tfs_client import daemons, forks

IDLE = 5.0  # seconds after which the thread ends if there are no timers; the next one starts another
LONGEST_WAIT = 3600.0  # seconds; a timer may last longer than a lock can be waited for
FEW = 64  # cancelled timers that may stay in the queue while there are others

_log = logging.getLogger(__name__)


class Timer:
    """A function that will be called."""

    __slots__ = ("_era", "_function")

    def __init__(self, function: Callable[[], object], era: object) -> None:
        self._function: Callable[[], object] | None = function
        self._era = era

    def cancel(self) -> bool:
        """Free the function. False when it was called or cancelled before, or before this process was forked."""
        return _timers.era is self._era and _timers.cancel(self)

    @property
    def pending(self) -> bool:
        """Whether the function has neither been called nor cancelled."""
        return self._function is not None

    def take(self) -> Callable[[], object] | None:
        """The function, for the first one who asks, who holds the lock."""
        function, self._function = self._function, None
        return function


class _Timers:
    """All timers of a process, and the thread that calls their functions."""

    def __init__(self) -> None:
        self._start_afresh()
        forks.watch(self)

    def _start_afresh(self) -> None:
        self.era = object()
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()  # so that functions of one moment are called in order
        self._cancelled = 0  # timers in the queue that are no longer pending
        self._thread: threading.Thread | None = None

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: the timers are the parent's. Returns them."""
        left = self._queue, self._changed, self._thread
        self._start_afresh()
        return left

    def after(self, seconds: float, function: Callable[[], object]) -> Timer | None:
        timer = Timer(function, self.era)
        entry = time.monotonic() + seconds, next(self._numbers), timer
        with self._changed:
            if self._thread is None and not self._start():
                return None
            heapq.heappush(self._queue, entry)
            if self._queue[0] is entry:
                self._changed.notify()
        return timer

    def cancel(self, timer: Timer) -> bool:
        with self._changed:
            if timer.take() is None:
                return False
            self._cancelled += 1
            if self._cancelled > max(FEW, len(self._queue) // 2) or self._cancelled == len(self._queue):
                self._queue = [entry for entry in self._queue if entry[2].pending]
                heapq.heapify(self._queue)
                self._cancelled = 0
                self._changed.notify()
        return True

    def step_aside(self) -> None:
        if self._thread is threading.current_thread():
            with self._changed:
                if self._queue:
                    self._start()
                else:
                    self._thread = None

    def _start(self) -> bool:
        thread = daemons.start(self._run, "tfs-client-timers")
        if thread is None:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except Exception:
                _log.exception("a timer's function failed")
            del function  # not to be kept while the thread waits

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next function to call; None when this thread is to end."""
        me = threading.current_thread()
        with self._changed:
            if self._thread is None:  # this one stepped aside, and nobody was needed in its place
                self._thread = me
            idle = False
            while self._thread is me:
                left = self._queue[0][0] - time.monotonic() if self._queue else IDLE
                if left <= 0:
                    function = heapq.heappop(self._queue)[2].take()
                    if function is not None:
                        return function
                    self._cancelled -= 1
                elif self._queue:
                    self._changed.wait(min(left, LONGEST_WAIT))
                elif idle:
                    self._thread = None
                else:
                    idle = not self._changed.wait(left)
            return None


_timers = _Timers()


def after(seconds: float, function: Callable[[], object]) -> Timer | None:
    """Call a function once, so many seconds from now, in a thread of this module; it should return soon.

    Returns None where no thread can be started, as at the very end of a program: then nobody will call it.
    """
    return _timers.after(seconds, function)


def step_aside() -> None:
    """Let another thread call what falls due while the function that calls this is busy.

    For functions of timers, before they run code that may take its time. Does nothing in other threads.
    """
    _timers.step_aside()
