"""Awaited calls over REST, by httpx."""

from __future__ import annotations

import inspect

from tfs_client.errors import ConfigError
from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.handshakes import closing
from tfs_client.transports.host_names import resolving
from tfs_client.transports.http_client import AsyncClient, open_asyncio
from tfs_client.transports.lanes import AsyncLanes
from tfs_client.transports.lifelines import PerLoop
from tfs_client.transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, Progress, RestHttp, method_of, opener
from tfs_client.within import within


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

        def connecting() -> AsyncClient:
            client = resolving(opened())
            return client if connection.tls is None else closing(client)

        self._lanes: PerLoop[AsyncLanes] = PerLoop(lambda: AsyncLanes(connecting, KEEPALIVE_EXPIRY), AsyncLanes.aclose)

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
                response = await within(client.send(request), send.deadline.remaining())
        except TimeoutError as error:
            raise self._http.late(send, progress) from error
        except (*FAILURES, RuntimeError) as error:
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            if isinstance(error, RuntimeError):
                raise
            raise self._http.failure(error, send, progress) from error
        return self._http.reply(response, response.content, send)

    async def close(self) -> None:
        """Break off what is under way and release the connections. May be called again."""
        self._closed = True
        await self._lanes.close()
