"""Timeouts in event loops."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def within(awaitable: Awaitable[Result], seconds: float | None) -> Result:
    """Await something for at most ``seconds``; None for no limit.

    Before Python 3.12, ``asyncio.wait_for`` loses the cancellation of its task if the result arrives at the same time:
    the task continues as if it had not been cancelled.

    Raises TimeoutError after the awaitable, which is then cancelled, has ended.
    """
    inner = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({inner}, timeout=seconds)
    except asyncio.CancelledError:
        inner.cancel()
        await asyncio.wait({inner})
        raise
    if not inner.done():
        inner.cancel()
        await asyncio.wait({inner})
        if inner.cancelled():
            raise TimeoutError
    return inner.result()


def whole_milliseconds(seconds: float) -> float:
    """Round seconds for ``call_later`` up to milliseconds.

    Other loops than asyncio's own count milliseconds. For less than half of one they would call at once, again and
    again until the time has come.
    """
    return math.ceil(seconds * 1000) / 1000
