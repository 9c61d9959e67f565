"""RestFutures: background calls over REST, each with a future.

Unlike a ThreadPoolExecutor, it does not keep the program alive: before Python exits, it waits for an executor's
threads, which takes as long as the slowest call.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from tfs_client._flows.tracebacks import ResultFuture
from tfs_client._transports import daemon_threads

Result = TypeVar("Result")
Job = tuple[Future[Any], Callable[[], Any]]

MAX_THREADS = 32  # concurrent calls; gRPC has no such limit
IDLE = 5.0  # seconds after which a thread without work ends


class RestFutures:
    """Daemon threads that make calls, and the calls that wait for a thread.

    Args:
        most: the maximum number of threads. They are started as needed.
        idle: seconds without work after which a thread ends.
    """

    def __init__(self, most: int = MAX_THREADS, idle: float = IDLE) -> None:
        self._most = most
        self._idle_for = idle
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def begin(self, call: Callable[[], Result]) -> Future[Result]:
        """Make a call as soon as a thread is free, in the context of the caller. It can be cancelled until then."""
        call = partial(copy_context().run, call)  # what traces the transport finds the caller's span there
        future: Future[Result] = ResultFuture()
        with self._changed:
            self._waiting.append((future, call))
            if len(self._waiting) <= self._idle:
                self._changed.notify()
            elif self._threads < self._most and daemon_threads.start(self._work, "tfs-client-rest") is not None:
                self._threads += 1
            without_threads = self._threads == 0
        if without_threads:  # none can be started, as at the end of the program: the caller makes the call
            while (job := self._waiting_job()) is not None:
                _perform(*job)
        return future

    def close(self) -> None:
        """End the threads when no call waits. Waiting calls still run, and fail because the client is closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            try:
                _perform(*job)
            except (
                BaseException
            ):  # of a callback, e.g. sys.exit(): reported as for any thread, but this thread continues
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            del job  # an idle thread keeps nothing alive

    def _next_job(self) -> Job | None:
        """Wait for the next call; None when the thread should end, which is then no longer counted."""
        with self._changed:
            idle_long_enough = False
            while not self._waiting:
                if self._closed or idle_long_enough:
                    self._threads -= 1
                    return None
                self._idle += 1
                idle_long_enough = not self._changed.wait(self._idle_for)
                self._idle -= 1
            return self._waiting.popleft()

    def _waiting_job(self) -> Job | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None


def _perform(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # whatever it is, it is the result that waiters get
        future.set_exception(error)
        del future  # the error's traceback refers to this frame: the cycle would keep both alive
    else:
        future.set_result(result)
