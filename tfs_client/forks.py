"""Forks: a forked process must not use its parent's connections, nor end them, nor wait for its parent's answers.

Of the parent's threads the child has only the one that forked. So in the child

- no lock of the parent is taken, for a thread that is gone may hold it: what has locks gets new ones (``_abandon``);
- connections are left as they are: the next call makes another;
- futures that were pending fail, for nobody would ever complete them; callbacks that they were given are the parent's,
  and do not run in the child;
- threads are started anew by the next one who needs them (``daemons``).
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from tfs_client.errors import ClosedError


class Abandoning(Protocol):
    """What can leave to the parent what is the parent's."""

    def _abandon(self) -> tuple[Any, ...]:
        """Begin anew, without connections and with new locks. Returns what was given up: it must not be taken apart."""


OVER = ("FINISHED", "CANCELLED_AND_NOTIFIED")  # states of futures that nobody has anything to do with any more

_watched: WeakSet[Any] = WeakSet()
_futures: WeakSet[Future[Any]] = WeakSet()


def watch(thing: Abandoning) -> None:
    """From now on the thing begins anew in forked processes."""
    _watched.add(thing)


def watch_future(future: Future[Any]) -> None:
    """In processes that are forked while the future is pending, it fails with ClosedError."""
    _futures.add(future)  # until it is gone: to take it out when it is done would cost more than all the rest


def carried_over(what: str) -> ClosedError:
    """For what was begun before a fork and is used in the child."""
    return ClosedError(
        f"{what} was started before the fork and belongs to the parent process; "
        "start it after the fork, in the process that needs the result"
    )


class Origin:
    """The process that something was begun in."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def here(self) -> bool:
        """Whether it is this process."""
        return os.getpid() == self._process

    def check(self, what: str) -> None:
        """Raise ClosedError in a forked process."""
        if os.getpid() != self._process:
            raise carried_over(what)


def _forked() -> None:
    left = [thing._abandon() for thing in list(_watched)]
    left += [_failed(future) for future in list(_futures) if future._state not in OVER]
    _futures.clear()
    if left:
        _keep_for_ever(left)


def _failed(future: Future[Any]) -> tuple[Any, ...]:
    """Fail a future of the parent's. Returns what it was waiting for."""
    future._condition = threading.Condition()
    future._done_callbacks = []  # type: ignore[attr-defined]
    for waiter in future._waiters:  # of an ``as_completed`` that the forking thread is in
        waiter.event = threading.Event()
        if hasattr(waiter, "lock"):
            waiter.lock = threading.Lock()
    abandon = getattr(future, "_abandon", tuple)
    left: tuple[Any, ...] = abandon()
    if future.cancelled():
        future.set_running_or_notify_cancel()  # a thread of the parent's would have, for those who wait
    else:
        future.set_exception(carried_over("this call"))
    return left


def _keep_for_ever(left: object) -> None:
    """Keep something beyond the end of the interpreter.

    Taking a gRPC channel of the parent apart waits for its calls to end, which threads would have to do that the child
    does not have: the child would never end. Python takes apart everything it can reach when it ends. But its garbage
    collector does not look into numpy's arrays, so an array that holds itself is never freed.
    """
    for_ever = np.empty(1, object)
    for_ever[0] = for_ever, left


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
