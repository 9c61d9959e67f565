"""Timers: functions that are called later, by one daemon thread for the whole process.

The thread is started by the first timer and ends when there was none for a while. It is never joined, so a process ends
whatever timers are left. A forked process starts afresh: it touches neither the timers of its parent nor their lock,
which another thread of the parent may have held.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

IDLE = 5.0  # seconds after which the thread ends if there are no timers; the next one starts another
LONGEST_WAIT = 3600.0  # seconds, for a lock cannot be waited for as long as a timer may last
FEW = 64  # cancelled timers that may stay in the queue, whatever their share

_log = logging.getLogger(__name__)


class Timer:
    """A function that will be called."""

    __slots__ = ("_function", "_timers")

    def __init__(self, timers: _Timers, function: Callable[[], object]) -> None:
        self._timers = timers
        self._function: Callable[[], object] | None = function

    def cancel(self) -> bool:
        """Free the function. False when it was called or cancelled before, or belongs to the process forked from."""
        return self._timers is _here and self._timers.cancel(self)

    def taken(self) -> Callable[[], object] | None:
        """The function, for one caller only, who holds the lock."""
        function, self._function = self._function, None
        return function


class _Timers:
    """All timers of a process, and the thread that calls them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._queue: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()  # so that timers of one moment are called in order
        self._cancelled = 0  # timers in the queue that have no function any more
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, function: Callable[[], object]) -> Timer:
        timer = Timer(self, function)
        entry = time.monotonic() + seconds, next(self._numbers), timer
        with self.changed:
            if self._thread is None:
                self._start()
            heapq.heappush(self._queue, entry)
            if self._queue[0] is entry:
                self.changed.notify()
        return timer

    def cancel(self, timer: Timer) -> bool:
        with self.changed:
            if timer.taken() is None:
                return False
            self._cancelled += 1
            if self._cancelled > max(FEW, len(self._queue) // 2):
                self._queue = [entry for entry in self._queue if entry[2]._function is not None]
                heapq.heapify(self._queue)
                self._cancelled = 0
        return True

    def step_aside(self) -> None:
        if self._thread is threading.current_thread():
            with self.changed:
                if self._queue:
                    with suppress(RuntimeError):  # there may be no more threads, and the outcome counts more
                        self._start()
                else:
                    self._thread = None

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="tfs-client-timers", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except Exception:
                _log.exception("a timer's function failed")
            del function  # not to be kept while the thread waits

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next function; None when this thread is to end."""
        with self.changed:
            if self._thread is None:
                self._thread = threading.current_thread()
            idle = False
            while self._thread is threading.current_thread():
                now = time.monotonic()
                if not self._queue:
                    if idle:
                        self._thread = None
                        return None
                    idle = not self.changed.wait(IDLE)
                elif self._queue[0][0] > now:
                    self.changed.wait(min(self._queue[0][0] - now, LONGEST_WAIT))
                else:
                    function = heapq.heappop(self._queue)[2].taken()
                    if function is not None:
                        return function
                    self._cancelled -= 1
            return None  # another one took over


_here = _Timers()
_left: list[Any] = []  # the parent's: freeing what its functions hold might wait for threads that were not forked


def after(seconds: float, function: Callable[[], object]) -> Timer:
    """Call a function once, so many seconds from now, in a thread of this module; it should return soon."""
    return _here.after(seconds, function)


def step_aside() -> None:
    """Let another thread call the timers that fall due while the one that called this function is busy.

    For functions of timers, before they run code that may take its time. Does nothing in other threads.
    """
    _here.step_aside()


def _forked() -> None:
    global _here
    _left.append(_here)
    _here = _Timers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
