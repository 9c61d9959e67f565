"""Time in event loops: await something, but not longer than some seconds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def within(awaitable: Awaitable[Result], seconds: float | None) -> Result:
    """What the awaitable gives; None waits as long as it takes.

    ``asyncio.wait_for`` before Python 3.12 forgets that its task was cancelled when the answer comes at the same time,
    and the task goes on as if nothing had been said.

    Raises TimeoutError once the awaitable, which is cancelled then, has ended.
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
    """Seconds for ``call_later``, rounded up: other loops than asyncio's own count milliseconds, and would call at once
    for less than half of one, again and again until the moment has come.
    """
    return math.ceil(seconds * 1000) / 1000
