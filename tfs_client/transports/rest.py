"""Blocking calls over REST, by httpx."""

from __future__ import annotations

import httpx

from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.punctual import Punctual
from tfs_client.transports.rest_http import FAILURES, RestHttp, method_of, opened


class RestTransport:
    """Connections to one REST server, kept for the next calls."""

    def __init__(self, connection: Connection) -> None:
        self._http = RestHttp(connection)
        self._closed = False
        self._client = opened(httpx.Client, connection, httpx.HTTPTransport)
        self._punctual = Punctual(self._client)

    def call(self, send: Send) -> bytes:
        """Send a request and wait for its reply. Raises CallError, ConfigError, DecodeError or ClosedError."""
        if self._closed:
            raise self._http.closed()
        request = self._http.request(self._client, send, patience=True)
        try:
            with self._punctual.until(send.deadline):
                response = self._client.send(request)
        except FAILURES as error:
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            raise self._http.failure(error, send) from error
        except RuntimeError as error:  # what httpx says of a client that was closed meanwhile
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            raise
        return self._http.reply(response, response.content, send)

    def close(self) -> None:
        """Break off what is under way and release the connections. May be called again."""
        self._closed = True
        self._punctual.break_off()
        self._client.close()

    def let_go(self) -> None:
        """In a forked process: leave the connections to the parent."""
        self._punctual.let_go()
