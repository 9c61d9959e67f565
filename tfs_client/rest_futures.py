"""RestFutures: calls over REST in the background, each with a future.

Unlike a ThreadPoolExecutor it does not keep the program alive: Python waits for an executor's threads at its end, which
takes as long as the server of the slowest call does.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tfs_client import daemons

Result = TypeVar("Result")
Job = tuple[Future[Any], Callable[[], Any]]

MOST = 32  # calls that are under way at once; gRPC has no such limit
IDLE = 5.0  # seconds after which a thread without work ends


class RestFutures:
    """Daemon threads that make calls, and the calls that wait for one of them.

    Args:
        most: threads, at the most. They are started when they are needed.
        idle: seconds after which one without work ends.
    """

    def __init__(self, most: int = MOST, idle: float = IDLE) -> None:
        self._most = most
        self._idle_for = idle
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def begin(self, call: Callable[[], Result]) -> Future[Result]:
        """Make a call as soon as a thread is free. Its future can be cancelled until then."""
        future: Future[Result] = Future()
        with self._changed:
            self._waiting.append((future, call))
            if len(self._waiting) <= self._idle:
                self._changed.notify()
            elif self._threads < self._most and daemons.start(self._work, "tfs-client-rest") is not None:
                self._threads += 1
            nobody = self._threads == 0
        if nobody:  # no thread could be started, as at the end of the program: the caller makes the call
            while (job := self._taken()) is not None:
                _perform(*job)
        return future

    def close(self) -> None:
        """End the threads when nothing waits any more. What waits is still performed, and finds the client closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._awaited()) is not None:
            try:
                _perform(*job)
            except BaseException:  # of a callback, say sys.exit(): shown as for any thread, but this one has work to do
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            del job  # an idle thread keeps nothing alive

    def _awaited(self) -> Job | None:
        """The next call for a thread; None when the thread is to end, which then does not count any more."""
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

    def _taken(self) -> Job | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None


def _perform(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # whatever it is, the one who waits must hear of it
        future.set_exception(error)
        del future  # the error's traceback leads here: a circle would keep both alive
    else:
        future.set_result(result)
