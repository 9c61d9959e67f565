"""Daemon threads: the only kind of thread that the client starts.

A program must be able to exit while calls are running, so no thread of the client may keep it alive:

- Every thread is a daemon, started here. It is not joined when the program exits, and for at most a second in
  ``close``.
- Nothing is registered to run at exit (``atexit``, ``weakref.finalize``, executors, whose threads Python joins), and
  ``__del__`` methods only warn. Pending work is dropped with the process.
- An idle thread ends after a while, so that a long-running program does not accumulate them.
- Starting a thread may fail: from Python 3.12 on, none can be started once the main thread has ended, though other
  threads and ``atexit`` functions still make calls. Callers then do the work themselves.
- A forked process has none of these threads; see ``forks``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


def start(work: Callable[[], object], name: str) -> threading.Thread | None:
    """Start a daemon thread; None if none can be started."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the program is exiting, or the system allows no more threads
        return None
    return thread


def too_late() -> bool:
    """Whether the program is so close to its end that no thread can be started."""
    return sys.version_info >= (3, 12) and not threading.main_thread().is_alive()


async def run_in_thread(work: Callable[[], Result], name: str) -> Result:
    """Run a blocking function in a daemon thread, and return its result.

    The loop's own executor is unsuitable: Python waits for its threads before a loop ends and before the program exits.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if outcome.done():  # cancelled meanwhile
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]
        else:
            outcome.set_exception(error)

    def run() -> None:
        result: Result | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    if start(run, name) is None:
        return work()
    return await outcome
