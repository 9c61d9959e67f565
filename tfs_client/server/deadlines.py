"""The deadline of the call that a thread is working on.

A servable is run without one, so it travels beside the call: whoever knows it says ``with time_limit(seconds):``, and
whoever waits on behalf of the call asks ``deadline()``. Where nobody says anything, calls have no limit.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("tfs_client_call_deadline", default=None)

# What a call without a limit gets in a queue: 2**31 - 1 microseconds (batching_session.cc), about 36 minutes.
UNLIMITED = (2**31 - 1) / 1e6


class time_limit:
    """Within the block, the call has this many seconds from now. None, 0 and less stand for no limit, as in Serving."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        seconds = self._seconds
        self._token = _deadline.set(None if seconds is None or seconds <= 0 else time.monotonic() + seconds)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


def deadline() -> float | None:
    """When the call that this thread works on must be done, by ``time.monotonic()``; None for no limit."""
    return _deadline.get()
