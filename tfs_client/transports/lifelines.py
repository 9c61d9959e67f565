"""Lifelines: what belongs to an event loop is closed with the loop, also when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
Lifeline = AsyncGenerator[None, None]


async def lifeline(close: Callable[[], Awaitable[object]]) -> Lifeline:
    """Holds something open in the running loop; ``aclose()`` closes it.

    Before a loop ends, as with ``asyncio.run``, it closes the asynchronous generators that were begun in it. That is
    the one moment when connections that outlive their last call can still be closed.
    """
    generator = _open_until_closed(close)
    await generator.__anext__()
    return generator


async def _open_until_closed(close: Callable[[], Awaitable[object]]) -> Lifeline:
    try:
        yield
    finally:
        await close()


class PerLoop(Generic[T]):
    """Something of which every event loop has its own: connections belong to the loop they were made in.

    Args:
        make: makes one, in the running loop.
        close: closes one, in its loop.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[object]]) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, Lifeline]] = WeakKeyDictionary()
        self._last: tuple[asyncio.AbstractEventLoop, T] | None = None  # most clients know one loop only

    async def get(self) -> T:
        """That of the running loop, made when there is none. What ``make`` raises leaves nothing behind."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last[0] is loop:
            return last[1]
        held = self._held.get(loop)
        if held is None:
            value = self._make()
            held = self._held[loop] = value, await lifeline(lambda: self._ended(loop, value))
        self._last = loop, held[0]
        return held[0]

    async def close(self) -> None:
        """Close that of the running loop, and have other loops that still run close theirs."""
        here = asyncio.get_running_loop()
        for loop, (_, line) in list(self._held.items()):
            if loop is here:
                await line.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(line.aclose(), loop)

    async def _ended(self, loop: asyncio.AbstractEventLoop, value: T) -> Any:
        self._held.pop(loop, None)
        if self._last is not None and self._last[0] is loop:
            self._last = None
        await self._close(value)
