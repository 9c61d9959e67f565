"""The deadline of the call that a thread is working on, and whether its client still waits.

A servable is run without them, so they travel beside the call: whoever knows them says ``with time_limit(seconds):``,
and whoever waits on behalf of the call asks ``deadline()`` and ``client_waits()``. Where nobody says anything, calls
have no limit, and their clients wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from tfs_client.errors import CancelledError, DeadlineExceededError
from tfs_client.server.served import GAVE_UP, TOO_LATE

_call: ContextVar[time_limit | None] = ContextVar("tfs_client_call_limit", default=None)

# What a call without a limit gets in a queue: 2**31 - 1 microseconds (batching_session.cc), about 36 minutes.
UNLIMITED = (2**31 - 1) / 1e6


class time_limit:
    """Within the block, the call has this many seconds from now. None, 0 and less stand for no limit, as in Serving.

    Args:
        seconds: how many.
        waits: tells whether the client still waits; None when nobody knows. It is called from any thread.
    """

    __slots__ = ("_seconds", "_token", "deadline", "waits")

    def __init__(self, seconds: float | None, waits: Callable[[], bool] | None = None) -> None:
        self._seconds = seconds
        self.waits = waits

    def __enter__(self) -> None:
        seconds = self._seconds
        self.deadline = None if seconds is None or seconds <= 0 else time.monotonic() + seconds
        self._token = _call.set(self)

    def __exit__(self, *_: object) -> None:
        _call.reset(self._token)


def deadline() -> float | None:
    """When the call that this thread works on must be done, by ``time.monotonic()``; None for no limit."""
    call = _call.get()
    return None if call is None else call.deadline


def client_waits() -> Callable[[], bool] | None:
    """What tells whether the client of the call that this thread works on still waits; None when nobody knows."""
    call = _call.get()
    return None if call is None else call.waits


def check_call() -> None:
    """Raise DeadlineExceededError or CancelledError if nobody waits for the call that this thread works on."""
    call = _call.get()
    if call is None:
        return
    if call.deadline is not None and time.monotonic() >= call.deadline:
        raise DeadlineExceededError(TOO_LATE)
    if call.waits is not None and not call.waits():
        raise CancelledError(GAVE_UP)
