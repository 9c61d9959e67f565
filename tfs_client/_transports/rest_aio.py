"""The asyncio version of ``rest``, by httpx."""

from __future__ import annotations

import asyncio
import inspect
import time

from tfs_client._codec.inflating import TooLarge
from tfs_client._transports.api_methods import method_of
from tfs_client._transports.connection import Connection
from tfs_client._transports.connection_pool import AsyncConnectionPool
from tfs_client._transports.handshakes import closing
from tfs_client._transports.host_names import resolving
from tfs_client._transports.http_client import AsyncClient, Head, Request, Response, must_close, open_asyncio
from tfs_client._transports.per_loop import PerLoop
from tfs_client._transports.reply import Reply
from tfs_client._transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, Progress, RestHttp, opener
from tfs_client._transports.steps import Send
from tfs_client._transports.within import within
from tfs_client.errors import ConfigError, DecodeError, TFServingError

TURN = 0.01  # seconds to read a reply before other tasks run


class RestAioTransport:
    """Connections to one REST server, kept for the next calls; every event loop has its own."""

    def __init__(self, connection: Connection) -> None:
        for function in connection.interceptors:
            if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
                getattr(function, "__call__", None)  # noqa: B004
            ):
                raise ConfigError(
                    f"expected interceptors as coroutine functions that take an httpx.Request, got {function!r}"
                )
        self._http = RestHttp(connection)
        self._closed = False
        opened = opener(open_asyncio, connection, self._http.route)

        def connecting() -> AsyncClient:
            client = resolving(opened())
            return client if connection.tls is None else closing(client)

        self._pool: PerLoop[AsyncConnectionPool] = PerLoop(
            lambda: AsyncConnectionPool(connecting, KEEPALIVE_EXPIRY), AsyncConnectionPool.aclose
        )

    async def call(self, send: Send) -> Reply:
        """Send a request and await its reply. Cancelling the task closes the connection.

        Raises CallError, ConfigError, DecodeError or ClosedError.
        """
        if self._closed:
            raise self._http.closed()
        pool = self._pool.known() or await self._pool.get()
        progress = Progress()
        try:
            async with pool.acquire() as client:
                request = self._http.request(client, send, progress.note_aio, patience=False)
                exchange = self._exchanged(client, request, send)
                response, head, body = await within(exchange, send.deadline.remaining())
        except TimeoutError as error:
            raise self._http.late(send, progress) from error
        except TFServingError:
            raise
        except Exception as error:
            if self._closed and isinstance(error, (*FAILURES, RuntimeError)):
                raise self._http.closed(method_of(send.address)) from error
            if not self._http.is_ours(error, progress):
                raise
            raise self._http.failure(error, send, progress) from error
        return self._http.reply(response, head, body, send)

    async def _exchanged(self, client: AsyncClient, request: Request, send: Send) -> tuple[Response, Head, bytes]:
        response = await client.send(request, stream=True)
        try:
            head = Head.of(response)
            body = await self._read(response, head, send)
        finally:
            await response.aclose()
        if must_close(client, head):
            await response.extensions["network_stream"].aclose()
        return response, head, body

    async def _read(self, response: Response, head: Head, send: Send) -> bytes:
        """Read the body. Other tasks run every few milliseconds, however large the pieces are."""
        if response.is_stream_consumed:  # from a mock: it was never on a network
            return self._http.checked(response.content, send)
        try:
            body = self._http.body(head)
            rest = time.monotonic() + TURN
            async for data in response.aiter_raw():
                for _ in body.add(data):
                    if time.monotonic() >= rest:
                        await asyncio.sleep(0)
                        rest = time.monotonic() + TURN
            return body.whole()
        except (TooLarge, DecodeError) as error:
            raise self._http.unread(error, send) from error

    async def close(self) -> None:
        """Interrupt running calls and release the connections. May be called again."""
        self._closed = True
        self._http.log.closed()
        await self._pool.close()
