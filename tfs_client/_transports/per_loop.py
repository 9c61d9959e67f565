"""PerLoop: objects that belong to an event loop, and are closed with it at the latest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
LoopGenerator = AsyncGenerator[None, None]


async def closed_with_loop(close: Callable[[], Awaitable[object]]) -> LoopGenerator:
    """Return a generator whose ``aclose()`` calls ``close``, and which the running loop closes before it ends.

    Before a loop ends, as with ``asyncio.run``, it closes the asynchronous generators that were started in it. That is
    the only moment when connections that outlive their last call can still be closed.
    """
    generator = _open_until_closed(close)
    await generator.__anext__()
    return generator


async def _open_until_closed(close: Callable[[], Awaitable[object]]) -> LoopGenerator:
    try:
        yield
    finally:
        await close()


class PerLoop(Generic[T]):
    """One object per event loop, because connections belong to the loop in which they were made.

    Args:
        make: makes an object, in the running loop.
        close: closes an object, in its loop.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[object]]) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, LoopGenerator]] = WeakKeyDictionary()
        self._last: tuple[asyncio.AbstractEventLoop, T] | None = None  # most clients use a single loop

    def known(self) -> T | None:
        """The running loop's object if it was the last one asked for; None if ``get`` must look for it."""
        last = self._last
        return last[1] if last is not None and last[0] is asyncio.get_running_loop() else None

    async def get(self) -> T:
        """The running loop's object, made if needed. If ``make`` raises, nothing is kept."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            value = self._make()
            held = self._held[loop] = value, await closed_with_loop(lambda: self._ended(loop, value))
        self._last = loop, held[0]
        return held[0]

    async def close(self) -> None:
        """Close the running loop's object, and let other running loops close theirs."""
        here = asyncio.get_running_loop()
        for loop, (_, generator) in list(self._held.items()):
            if loop is here:
                await generator.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(generator.aclose(), loop)

    async def _ended(self, loop: asyncio.AbstractEventLoop, value: T) -> None:
        self._held.pop(loop, None)
        if self._last is not None and self._last[0] is loop:
            self._last = None
        await self._close(value)
