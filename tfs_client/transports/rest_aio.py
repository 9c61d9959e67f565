"""Awaited calls over REST, by httpx."""

from __future__ import annotations

import asyncio

import httpx

from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.lifelines import Lifeline, lifeline
from tfs_client.transports.rest_http import FAILURES, RestHttp, method_of, opened


class RestAioTransport:
    """Connections to one REST server, made in the loop of the first call and kept for the next calls."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http = RestHttp(connection)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        self._lifeline: Lifeline | None = None

    async def call(self, send: Send) -> bytes:
        """Send a request and await its reply. Cancelling the task breaks the connection off.

        Raises CallError, ConfigError, DecodeError or ClosedError.
        """
        if self._closed:
            raise self._http.closed()
        client = self._client
        if client is None or self._loop is not asyncio.get_running_loop():  # connections belong to the loop
            client = self._client = opened(httpx.AsyncClient, self._connection, httpx.AsyncHTTPTransport)
            self._loop = asyncio.get_running_loop()
            self._lifeline = await lifeline(client.aclose)
        request = self._http.request(client, send, patience=False)
        try:
            response = await asyncio.wait_for(client.send(request), send.deadline.remaining())
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise self._http.late(send.deadline, method_of(send.address)) from error
        except (*FAILURES, RuntimeError) as error:
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            if isinstance(error, RuntimeError):
                raise
            raise self._http.failure(error, send) from error
        return self._http.reply(response, response.content, send)

    async def close(self) -> None:
        """Release the connections. May be called again."""
        self._closed = True
        line, self._lifeline = self._lifeline, None
        if line is not None and self._loop is asyncio.get_running_loop():
            await line.aclose()
