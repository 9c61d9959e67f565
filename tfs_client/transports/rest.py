"""Blocking calls over REST, by httpx."""

from __future__ import annotations

import httpx

from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.rest_http import RestHttp, client_options, method_of


class RestTransport:
    """Connections to one REST server, kept for the next calls."""

    def __init__(self, connection: Connection) -> None:
        self._http = RestHttp(connection)
        self._closed = False
        self._client = httpx.Client(**client_options(connection, httpx.HTTPTransport))

    def call(self, send: Send) -> bytes:
        """Send a request and wait for its reply. Raises CallError, DecodeError or ClosedError.

        httpx limits each wait for the network; between them the deadline is looked at.
        """
        if self._closed:
            raise self._http.closed()
        request = self._http.request(self._client, send, patience=True)
        try:
            response = self._client.send(request, stream=True)
            try:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if send.deadline.passed():
                        raise self._http.late(send.deadline, method_of(send.address))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            raise self._http.failure(error, send) from error
        except RuntimeError as error:  # what httpx says of a client that was closed meanwhile
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            raise
        return self._http.reply(response, b"".join(parts), send)

    def close(self) -> None:
        """Release the connections. May be called again."""
        self._closed = True
        self._client.close()
