"""Daemon threads: the only kind of thread that the client starts.

A program must be able to end while calls are under way, so no thread of the client may keep it alive:

- Every thread is a daemon, started here. Nobody joins one when the program ends, nor for more than a second in
  ``close``.
- Nothing is registered to run at the end of the program (``atexit``, ``weakref.finalize``, executors, whose threads
  Python joins), and no ``__del__`` does more than warn. What is pending then is dropped with the process.
- A thread that has nothing to do ends after a while, so that a program that goes on does not collect them.
- There may be no thread to be had: from Python 3.12 on none can be started once the main thread has ended, though
  other threads and ``atexit`` functions still make calls. Callers then do the work themselves.
- A forked process has none of them; ``forks`` says what follows from that.
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
    """Start a daemon thread; None where none can be started."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the program is ending, or the system has no more threads
        return None
    return thread


def too_late() -> bool:
    """Whether the program is so close to its end that no thread can be started any more."""
    return sys.version_info >= (3, 12) and not threading.main_thread().is_alive()


async def awaited(work: Callable[[], Result], name: str) -> Result:
    """The result of a blocking function, which a daemon thread runs.

    The loop's own executor would not do: before a loop ends, and before the program does, Python waits for its threads.
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
        with suppress(RuntimeError):  # the loop came to its end meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    if start(run, name) is None:
        return work()
    return await outcome
