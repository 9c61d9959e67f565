"""Forks: a forked process must not use or close its parent's connections, nor wait for its parent's replies.

Of the parent's threads, the child has only the one that forked. Therefore, in the child

- no lock of the parent is taken, because a thread that no longer exists may hold it: objects with locks get new ones
  (``_abandon``);
- connections are left as they are, and the next call makes another;
- pending futures fail, because nothing would ever complete them; their callbacks belong to the parent and do not run;
- threads are started again when they are needed (``daemon_threads``).
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from tfs_client.errors import ClosedError


class Forkable(Protocol):
    """An object that can be reset in a forked process."""

    def _abandon(self) -> tuple[object, ...]:
        """Reset, without connections and with new locks. Returns what was dropped: it must not be deallocated."""


DONE_STATES = ("FINISHED", "CANCELLED_AND_NOTIFIED")  # states of futures that need no more work

_watched: WeakSet[Forkable] = WeakSet()
_futures: WeakSet[Future[Any]] = WeakSet()

under_way: set[Future[Any]] = set()
"""Futures that add themselves, and remove themselves when they are over: as ``watch_future``, in less time."""


def watch(thing: Forkable) -> None:
    """Reset an object in processes that are forked from now on."""
    _watched.add(thing)


def watch_future(future: Future[Any]) -> None:
    """Fail a future with ClosedError in processes that are forked while it is pending."""
    _futures.add(future)  # weakly, because nobody says when it is done


def started_before_fork(what: str) -> ClosedError:
    """The error for something that was started before a fork and is used in the child."""
    return ClosedError(
        f"{what} was started before the fork and belongs to the parent process; "
        "start it after the fork, in the process that needs the result"
    )


class Origin:
    """The process in which something was started."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def here(self) -> bool:
        """Whether that is the current process."""
        return os.getpid() == self._process

    def check(self, what: str) -> None:
        """Raise ClosedError in a forked process."""
        if os.getpid() != self._process:
            raise started_before_fork(what)


def _forked() -> None:
    left = [thing._abandon() for thing in list(_watched)]
    left += [_failed(future) for future in (*_futures, *under_way) if future._state not in DONE_STATES]
    _futures.clear()
    under_way.clear()
    if left:
        _keep_alive(left)


def _failed(future: Future[Any]) -> tuple[object, ...]:
    """Fail a future of the parent. Returns what it was waiting for."""
    future._condition = threading.Condition()
    future._done_callbacks = []  # type: ignore[attr-defined]
    for waiter in future._waiters:  # of an ``as_completed`` in the forking thread
        waiter.event = threading.Event()
        if hasattr(waiter, "lock"):
            waiter.lock = threading.Lock()
    abandon = getattr(future, "_abandon", tuple)
    left: tuple[object, ...] = abandon()
    if future.cancelled():
        future.set_running_or_notify_cancel()  # wakes waiters; the parent's thread will not
    else:
        future.set_exception(started_before_fork("this call"))
    return left


def _keep_alive(left: object) -> None:
    """Keep an object alive beyond the end of the interpreter.

    Deallocating a gRPC channel of the parent waits for its calls to end, which needs threads that the child does not
    have: the child would never exit. When Python exits, it deallocates everything that it can reach. But its garbage
    collector does not look into numpy arrays, so an array that contains itself is never freed.
    """
    circle = np.empty(1, object)
    circle[0] = circle, left


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
