"""Lifelines: what belongs to an event loop is closed with the loop, also when nobody does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

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
