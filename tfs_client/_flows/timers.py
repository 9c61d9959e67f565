"""Timers: functions that one daemon thread of the process calls later.

The first timer starts the thread, which ends after a while without timers. It is never joined, so pending timers do not
keep a process alive. A forked process starts without timers: it touches neither those of its parent nor their lock,
which another thread of the parent may have held.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from tfs_client._flows import forks
from tfs_client._transports import daemon_threads
from tfs_client._transports.log_records import write

IDLE = 5.0  # seconds without timers after which the thread ends; the next timer starts another
LONGEST_WAIT = 3600.0  # seconds; a timer may be longer than the longest wait for a lock
FEW = 64  # cancelled timers that may stay in the queue among others

_log: logging.Logger = logging.getLogger(__name__)


class Timer:
    """A function that will be called later."""

    __slots__ = ("_era", "_function")

    def __init__(self, function: Callable[[], object], era: object) -> None:
        self._function: Callable[[], object] | None = function
        self._era = era

    def cancel(self) -> bool:
        """Cancel the call. False if the function was called or cancelled before, or this process was forked since."""
        return _timers.era is self._era and _timers.cancel(self)

    @property
    def pending(self) -> bool:
        """Whether the function has neither been called nor cancelled."""
        return self._function is not None

    def take(self) -> Callable[[], object] | None:
        """Return the function once, then None. The caller holds the lock."""
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
        self._numbers = itertools.count()  # functions with equal times are called in order
        self._cancelled = 0  # timers in the queue that are no longer pending
        self._thread: threading.Thread | None = None

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: leave the timers to the parent. Returns them."""
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
        """Let another thread run the timers while the calling function is busy.

        For timer functions, before they run code that may take long. No-op in other threads.
        """
        if self._thread is not None and self._thread is threading.current_thread():
            with self._changed:
                if self._queue:
                    self._start()
                else:
                    self._thread = None

    def _start(self) -> bool:
        thread = daemon_threads.start(self._run, "tfs-client-timers")
        if thread is None:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except Exception as error:
                write(_log, logging.ERROR, "a timer's function failed", error=error)
            del function  # do not keep it alive while the thread waits

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next function to call; None when this thread should end."""
        me = threading.current_thread()
        with self._changed:
            if self._thread is None:  # it stepped aside, and no other thread was needed
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
    """Call a function once, after ``seconds``, in this module's thread; it should return soon.

    Returns None if no thread can be started, as at the very end of a program: then the function is never called.
    """
    return _timers.after(seconds, function)


step_aside = _timers.step_aside
