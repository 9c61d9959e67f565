"""The deadline of the call that a thread works on, and whether its client still waits.

``Servable.run`` takes neither, so they are context variables: the ports enter ``time_limit(seconds)``, and code that
waits on behalf of the call uses ``deadline()`` and ``client_waits()``. Without ``time_limit``, calls have no limit, and
their clients count as waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from tfs_client.errors import CancelledError, DeadlineExceededError
from tfs_client.server.call_record import GAVE_UP, TOO_LATE

_call: ContextVar[time_limit | None] = ContextVar("tfs_client_call_limit", default=None)

# The limit in a queue for a call without a limit: 2**31 - 1 microseconds (batching_session.cc), about 36 minutes.
UNLIMITED = (2**31 - 1) / 1e6


class time_limit:
    """Limit the time of the call within a block.

    Args:
        seconds: the limit, from the start of the block; None, 0 and less mean no limit, as in TensorFlow Serving.
        waits: returns whether the client still waits; None if that is unknown. It is called from any thread.
    """

    __slots__ = ("_seconds", "_token", "deadline", "waits")

    def __init__(self, seconds: float | None, waits: Callable[[], bool] | None = None) -> None:
        self._seconds = seconds
        self.waits: Callable[[], bool] | None = waits

    def __enter__(self) -> None:
        seconds = self._seconds
        self.deadline: float | None = None if seconds is None or seconds <= 0 else time.monotonic() + seconds
        self._token = _call.set(self)

    def __exit__(self, *_: object) -> None:
        _call.reset(self._token)


def deadline() -> float | None:
    """The deadline of the call that this thread works on, by ``time.monotonic()``; None for no limit."""
    call = _call.get()
    return None if call is None else call.deadline


def client_waits() -> Callable[[], bool] | None:
    """A function that returns whether the client of this thread's call still waits; None if that is unknown."""
    call = _call.get()
    return None if call is None else call.waits


def check_call() -> None:
    """Raise DeadlineExceededError or CancelledError if the client of this thread's call no longer waits."""
    call = _call.get()
    if call is None:
        return
    if call.deadline is not None and time.monotonic() >= call.deadline:
        raise DeadlineExceededError(TOO_LATE)
    if call.waits is not None and not call.waits():
        raise CancelledError(GAVE_UP)
