"""Arrivals: limits how long gRPC calls that wait for their clients, mostly for the request, occupy a thread.

gRPC for Python reads a request in the thread that will run the call, and waits for it without a limit. Only methods
with a stream of requests control that read. On the wire both are the same, so methods with one request are served as
streams, and take the first message. Calls of many messages also wait here, both to read and to write (streams.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from tfs_client.server.grpc.behaviors import Behavior, StreamBehavior
from tfs_client.server.thread_pool import ThreadPool, pool_of_this_thread, submitted

log: logging.Logger = logging.getLogger("tfs_client.server")

T = TypeVar("T")

Left = Callable[[grpc.ServicerContext], None]

SLOW = 0.1  # seconds after which a call that waits is slow, and another thread takes the place of its thread
SLOW_IN_A_CROWD = 0.01  # the same, and the period of checks, while other calls wait because of slow ones
LEAST = 1.0  # seconds that a request may take in any case, even if other calls wait
WAITED = 0.001  # seconds from the arrival of a call after which it counts as one that waited for a thread
LINGER = 5.0  # seconds for which the watching thread remains after the last call


class Arrivals:
    """Watches calls until their requests have arrived. One thread does so; it runs only while there are calls.

    A call whose request is slow does not reduce the threads of its pool: another thread is lent in its place. The call
    ends as CANCELLED after ``timeout``. If no more threads can be lent and calls wait for one, the oldest slow calls
    end after ``LEAST`` seconds.

    Args:
        timeout: seconds that a request may take to arrive.
    """

    # Clients that open calls and do not send their requests must not take the threads away from others. But nearly all
    # requests have arrived when their call begins, so that case must cost next to nothing: a call enters itself in a
    # dict, reads, and removes itself, without a lock and without a timer. The watching thread does the rest:
    #
    # - A call is in exactly one of _arriving and _slow. Both the call and the watching thread remove it from _arriving
    #   by dict.pop, which is atomic: the one that gets it decides whether the call was slow. So a call that finds
    #   itself removed knows that a thread may have been lent for it, and settles that under the lock (_end_slow).
    # - A lent thread is given back exactly once: the call either takes its turn in the pool, or its thread ends.
    # - Calls are ended only if they keep others from running: while threads can still be lent, a slow call has all of
    #   ``timeout``. The oldest end first, only as many as calls wait, and none before LEAST seconds.
    # - The watching thread ends after LINGER seconds without calls. It re-checks _arriving after it has cleared
    #   _watched, and a call reads _watched after it has entered itself, so that no call remains unwatched.

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pause = min(SLOW, timeout / 4)
        self._arriving: dict[_Arrival, bool] = {}
        self._slow: dict[_Arrival, bool] = {}  # oldest first
        self._lock = threading.Lock()
        self._watched = False
        self._over = threading.Event()

    def close(self) -> None:
        """Stop watching. For a server that has stopped, so that nothing can arrive."""
        self._over.set()

    def first(self, path: str, behavior: Behavior, left: Left | None = None) -> StreamBehavior:
        """Return a behavior that reads the first message of a stream, and passes it to ``behavior`` as the request.

        Args:
            left: called with calls that have ended, without their request, while they waited for a thread.
        """

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            waited = time.monotonic() - submitted() > WAITED
            request = None
            try:
                request = self.wait(context, lambda: next(requests, None))
            finally:
                if request is None and left is not None and waited and not context.is_active():
                    left(context)
            if request is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, missing(path))
            return behavior(request, context)

        return handle

    def wait(self, context: grpc.ServicerContext, step: Callable[[], T | None]) -> T | None:
        """Run ``step``, which waits for the client of a call: it reads a message, or sends one.

        Returns the result of ``step``, or None if the client has gone. Exceptions of ``step`` pass through.
        """
        arrival = _Arrival(context)
        done = None
        self._arriving[arrival] = True
        try:
            if not self._watched:
                self._watch()
            done = step()
        finally:
            in_time = self._arriving.pop(arrival, False)
            if not in_time:
                self._end_slow(arrival, done is not None)
        return done if in_time or context.is_active() else None

    def _end_slow(self, arrival: _Arrival, arrived: bool) -> None:
        """End the slow phase of a call, which continues if ``arrived``."""
        with self._lock:
            del self._slow[arrival]
        if arrival.lent and arrival.pool is not None:
            if arrived:
                arrival.pool.wait_for_turn()
            else:
                arrival.pool.leave()

    def _watch(self) -> None:
        with self._lock:
            if not self._watched:
                try:
                    threading.Thread(target=self._run, name="tfs-serve-arrivals", daemon=True).start()
                except RuntimeError:  # the system cannot start a thread; the next call tries again
                    return
                self._watched = True

    def _run(self) -> None:
        seen, pause = time.monotonic(), self._pause
        while not self._over.wait(pause):
            now = time.monotonic()
            try:
                with self._lock:
                    crowded = self._check(now, pause)
                pause = SLOW_IN_A_CROWD if crowded else self._pause
            except Exception:  # the next check may succeed
                log.exception("checking for requests that do not arrive failed")
            if self._arriving or self._slow:
                seen = now
            elif now - seen > LINGER and self._ends():
                return

    def _ends(self) -> bool:
        """Stop watching, unless a call has just arrived. A later call starts another thread."""
        with self._lock:
            self._watched = False
            self._watched = bool(self._arriving)
            return not self._watched

    def _check(self, now: float, slow: float) -> bool:
        """Lend threads in place of those of slow calls, and end calls that are too slow. The caller holds the lock.

        Returns whether other calls wait for threads.
        """
        for arrival in self._arriving.copy():
            if now - arrival.began >= slow and self._arriving.pop(arrival, False):
                self._slow[arrival] = True
        waiting: dict[ThreadPool, int] = {}  # calls that wait, for pools that cannot lend more threads
        crowded = False
        for arrival in self._slow:
            if now - arrival.began > self._timeout:
                arrival.end()
            elif arrival.pool is not None:
                arrival.lent = arrival.lent or arrival.pool.lend()
                number = arrival.pool.waiting()
                crowded = crowded or number > 0
                if not arrival.lent:
                    waiting[arrival.pool] = number
        for arrival in self._slow:
            if arrival.pool is not None and waiting.get(arrival.pool, 0) > 0 and now - arrival.began > LEAST:
                waiting[arrival.pool] -= 1
                arrival.end()
        return crowded


def missing(path: str) -> str:
    """Return gRPC for Python's text for a call without its request message (including the ``b`` of bytes)."""
    return f'"{path.encode()!r}" requires exactly one request message.'


class _Arrival:
    """A call that waits for its client.

    Attributes:
        pool: the pool of the thread that waits.
        began: the start of the wait, by ``time.monotonic()``.
        lent: whether the pool has lent a thread in its place.
    """

    __slots__ = ("_context", "_ended", "began", "lent", "pool")

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._ended = False
        self.pool = pool_of_this_thread()
        self.began = time.monotonic()
        self.lent = False

    def end(self) -> None:
        """End the call as CANCELLED."""
        if not self._ended:
            self._ended = True
            self._context.cancel()  # type: ignore[no-untyped-call]
