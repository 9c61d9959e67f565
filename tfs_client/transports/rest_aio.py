"""Awaited calls over REST, by httpx."""

from __future__ import annotations

import asyncio
import inspect
import time

from tfs_client.errors import ConfigError, DecodeError, TFServingError
from tfs_client.inflating import TooLarge
from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.handshakes import closing
from tfs_client.transports.http_client import AsyncClient, Head, Request, Response, is_spoilt, open_asyncio
from tfs_client.transports.lanes import AsyncLanes
from tfs_client.transports.lifelines import PerLoop
from tfs_client.transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, Progress, RestHttp, method_of, opener
from tfs_client.within import within

TURN = 0.01  # seconds for which a reply is read before other tasks run


class RestAioTransport:
    """Connections to one REST server, kept for the next calls; every event loop has its own."""

    def __init__(self, connection: Connection) -> None:
        for function in connection.interceptors:
            if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
                getattr(function, "__call__", None)  # noqa: B004
            ):
                raise ConfigError(
                    f"expected interceptors as coroutine functions that get an httpx.Request, got {function!r}"
                )
        self._http = RestHttp(connection)
        self._closed = False
        opened = opener(open_asyncio, connection, self._http.route)
        secured = opened if connection.tls is None else lambda: closing(opened())
        self._lanes: PerLoop[AsyncLanes] = PerLoop(lambda: AsyncLanes(secured, KEEPALIVE_EXPIRY), AsyncLanes.aclose)

    async def call(self, send: Send) -> bytes:
        """Send a request and await its reply. Cancelling the task breaks the connection off.

        Raises CallError, ConfigError, DecodeError or ClosedError.
        """
        if self._closed:
            raise self._http.closed()
        lanes = await self._lanes.get()
        progress = Progress()
        try:
            async with lanes.taken() as client:
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
        if is_spoilt(client, head):
            await response.extensions["network_stream"].aclose()
        return response, head, body

    async def _read(self, response: Response, head: Head, send: Send) -> bytes:
        """The body. Other tasks run every few milliseconds, however much or little of it is there at once."""
        if response.is_stream_consumed:  # a mock's, which was never on a network
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
        """Break off what is under way and release the connections. May be called again."""
        self._closed = True
        await self._lanes.close()
