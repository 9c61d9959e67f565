"""BodyLimit: an ASGI middleware against request bodies that are too large."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Refuses a body over the limit with status 413: by its Content-Length, else once that many bytes have arrived.

    FastAPI passes an HTTPException raised while it reads the body to the app's handlers.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = int(Headers(scope=scope).get("content-length", 0))
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            self._check(announced)  # before the first byte is read, so that a caller that waits for 100 sends none
            message = await receive()
            received += len(message.get("body", b""))
            self._check(received)
            return message

        await self._app(scope, receive_within_limit, send)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise HTTPException(413, f"a request body may have at most {self._limit} bytes")
