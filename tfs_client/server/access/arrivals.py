"""Arrivals: gRPC calls whose request has not arrived yet, and how long those may keep a thread waiting.

gRPC for Python reads a request in the thread that will run it, and waits for it without a limit. It lets a method look
at its request only if that is a stream, which on the wire is the same: a method of one message is a stream's first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import grpc

from tfs_client.server.own_threads import Behavior, StreamBehavior
from tfs_client.server.thread_pool import ThreadPool, pool_of_this_thread

log = logging.getLogger("tfs_client.server")

SLOW = 0.1  # seconds after which another thread takes the place of one that waits for a request
SLOW_IN_A_CROWD = 0.01  # the same, and how often that is looked at, while calls wait because of slow ones
LEAST = 1.0  # seconds that a request may always take, even if it is slow and others wait
LINGER = 5.0  # seconds after the last call for which the watching thread stays


class Arrivals:
    """Watches calls until their requests have arrived. One thread does so; it runs only while there are calls.

    A call whose request is slow does not use up a thread of its pool: another one is lent in its place. It ends as
    CANCELLED after ``timeout``. If no more threads can be lent and calls wait for one, the oldest of the slow ones end
    after ``LEAST`` seconds.

    Args:
        timeout: seconds that a request may take to arrive.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pause = min(SLOW, timeout / 4)
        # Whoever takes a call out of it decides whether it was slow. Calls do that without a lock: removing from a dict
        # happens at once.
        self._arriving: dict[_Arrival, bool] = {}
        self._slow: dict[_Arrival, bool] = {}  # the oldest first
        self._lock = threading.Lock()
        self._watched = False
        self._over = threading.Event()

    def close(self) -> None:
        """Watch no more. For a server that has stopped: nothing arrives any more."""
        self._over.set()

    def first(self, path: str, behavior: Behavior) -> StreamBehavior:
        """What serves a method whose request is a stream's first message; ``behavior`` gets that."""

        missing = f'"{path.encode()!r}" requires exactly one request message.'  # what gRPC says, with the b of bytes

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            arrival = _Arrival(context)
            request = None
            self._arriving[arrival] = True
            try:
                if not self._watched:
                    self._watch()
                request = next(requests, None)
            finally:
                in_time = self._arriving.pop(arrival, False)
                if not in_time:
                    self._late(arrival, request is not None)
            if request is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, missing)
            if not in_time and not context.is_active():
                return b""  # nobody gets it
            return behavior(request, context)

        return handle

    def _late(self, arrival: _Arrival, arrived: bool) -> None:
        """A slow call goes on, or has ended."""
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
                except RuntimeError:  # the system has no thread to give; the next call tries again
                    return
                self._watched = True

    def _run(self) -> None:
        seen, pause = time.monotonic(), self._pause
        while not self._over.wait(pause):
            now = time.monotonic()
            try:
                with self._lock:
                    crowded = self._look(now, pause)
                pause = SLOW_IN_A_CROWD if crowded else self._pause
            except Exception:  # the next look may go better
                log.exception("looking for requests that do not arrive failed")
            if self._arriving or self._slow:
                seen = now
            elif now - seen > LINGER and self._ends():
                return

    def _ends(self) -> bool:
        """Watch no more, unless a call has just come; one that comes later starts another thread."""
        with self._lock:
            self._watched = False
            self._watched = bool(self._arriving)
            return not self._watched

    def _look(self, now: float, slow: float) -> bool:
        """Lend threads for calls that are slow, and end those that have been for too long; the lock is held.

        Returns whether other calls wait for their threads.
        """
        for arrival in self._arriving.copy():
            if now - arrival.began >= slow and self._arriving.pop(arrival, False):
                self._slow[arrival] = True
        waiting: dict[ThreadPool, int] = {}  # of pools that cannot lend any more
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


class _Arrival:
    """A call whose request has not arrived yet.

    Attributes:
        pool: that of the thread which waits for it.
        began: since when, by ``time.monotonic()``.
        lent: whether the pool has another thread in place of that one.
    """

    __slots__ = ("_context", "_ended", "began", "lent", "pool")

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._ended = False
        self.pool = pool_of_this_thread()
        self.began = time.monotonic()
        self.lent = False

    def end(self) -> None:
        """End the call, as CANCELLED."""
        if not self._ended:
            self._ended = True
            self._context.cancel()  # type: ignore[no-untyped-call]
