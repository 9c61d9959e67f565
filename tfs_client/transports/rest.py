"""Blocking calls over REST, by httpx."""

from __future__ import annotations

from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.http_client import open_blocking
from tfs_client.transports.lanes import Lanes
from tfs_client.transports.punctual import Punctual
from tfs_client.transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, Progress, RestHttp, method_of, opener


class RestTransport:
    """Connections to one REST server, kept for the next calls."""

    def __init__(self, connection: Connection) -> None:
        self._http = RestHttp(connection)
        self._closed = False
        self._punctual = Punctual()
        opened = opener(open_blocking, connection, self._http.route)
        self._lanes = Lanes(lambda: self._punctual.watched(opened()), KEEPALIVE_EXPIRY)

    def call(self, send: Send) -> bytes:
        """Send a request and wait for its reply. Raises CallError, ConfigError, DecodeError or ClosedError."""
        if self._closed:
            raise self._http.closed()
        progress = Progress()
        try:
            with self._lanes.taken() as client, self._punctual.until(send.deadline):
                response = client.send(self._http.request(client, send, progress.note, patience=True))
        except FAILURES as error:
            if self._closed:
                raise self._http.closed(method_of(send.address)) from error
            raise self._http.failure(error, send, progress) from error
        except Exception as error:
            if self._closed and isinstance(error, RuntimeError):  # httpx, of a client that was closed meanwhile
                raise self._http.closed(method_of(send.address)) from error
            self._http.check_unforeseen(error, send)
            raise
        return self._http.reply(response, response.content, send)

    def close(self) -> None:
        """Break off what is under way and release the connections. May be called again."""
        self._closed = True
        self._punctual.break_off()
        self._lanes.close()

    def let_go(self) -> None:
        """In a forked process: leave the connections to the parent."""
        self._punctual.let_go()
