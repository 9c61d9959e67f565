"""Blocking calls over REST, by httpx."""

from __future__ import annotations

from tfs_client._codec.inflating import TooLarge
from tfs_client._transports.api_methods import method_of
from tfs_client._transports.connection import Connection
from tfs_client._transports.connection_pool import ConnectionPool
from tfs_client._transports.http_client import Head, Response, must_close, open_blocking
from tfs_client._transports.http_deadlines import HttpDeadlines
from tfs_client._transports.reply import Reply
from tfs_client._transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, Progress, RestHttp, opener
from tfs_client._transports.steps import Send
from tfs_client.errors import DecodeError, TFServingError


class RestTransport:
    """Connections to one REST server, kept for the next calls."""

    def __init__(self, connection: Connection) -> None:
        self._http = RestHttp(connection)
        self._closed = False
        self._deadlines = HttpDeadlines()
        opened = opener(open_blocking, connection, self._http.route)
        self._pool = ConnectionPool(lambda: self._deadlines.applied_to(opened()), KEEPALIVE_EXPIRY)

    def call(self, send: Send) -> Reply:
        """Send a request and wait for its reply. Raises CallError, ConfigError, DecodeError or ClosedError."""
        if self._closed:
            raise self._http.closed()
        progress = Progress()
        try:
            with self._pool.acquire() as client, self._deadlines.until(send.deadline):
                request = self._http.request(client, send, progress.note, patience=True)
                response = client.send(request, stream=True)
                try:
                    head = Head.of(response)
                    body = self._read(response, head, send, progress)
                finally:
                    response.close()
                if must_close(client, head):
                    response.extensions["network_stream"].close()
        except TFServingError:
            raise
        except Exception as error:
            if self._closed and isinstance(
                error, (*FAILURES, RuntimeError)
            ):  # httpx raises RuntimeError for a closed client
                raise self._http.closed(method_of(send.address)) from error
            if not self._http.is_ours(error, progress):
                raise
            raise self._http.failure(error, send, progress) from error
        return self._http.reply(response, head, body, send)

    def _read(self, response: Response, head: Head, send: Send, progress: Progress) -> bytes:
        if response.is_stream_consumed:  # from a mock: it was never on a network
            return self._http.checked(response.content, send)
        try:
            body = self._http.body(head)
            for data in response.iter_raw():
                for _ in body.add(data):
                    if send.deadline.passed():
                        raise self._http.late(send, progress)
            return body.whole()
        except (TooLarge, DecodeError) as error:
            raise self._http.unread(error, send) from error

    def close(self) -> None:
        """Interrupt running calls and release the connections. May be called again."""
        self._closed = True
        self._http.log.closed()
        self._deadlines.interrupt()
        self._pool.close()

    def abandon(self) -> None:
        """In a forked process: leave the connections to the parent."""
        self._deadlines.abandon()
