"""Disconnects: a call that nobody waits for any more is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

Result = TypeVar("Result")


class Disconnected(Exception):
    """The caller of the service closed the connection before the answer."""


async def unless_disconnected(request: Request, call: Coroutine[Any, Any, Result]) -> Result:
    """Await a call, and cancel it when the request's caller disconnects.

    Starlette does not do so by itself. The body of the request must have been read.
    """
    work = asyncio.create_task(call)
    watch = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Disconnected
        return work.result()
    finally:
        work.cancel()
        watch.cancel()
        await asyncio.wait([work, watch])  # a cancelled call releases its slot before the request ends


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
