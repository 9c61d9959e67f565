"""Blocking calls over REST, by httpx."""

from __future__ import annotations

from tfs_client.errors import DecodeError, TFServingError
from tfs_client.inflating import TooLarge
from tfs_client.options import Connection
from tfs_client.steps import Send
from tfs_client.transports.http_client import Head, Response, is_spoilt, open_blocking
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
                request = self._http.request(client, send, progress.note, patience=True)
                response = client.send(request, stream=True)
                try:
                    head = Head.of(response)
                    body = self._read(response, head, send, progress)
                finally:
                    response.close()
                if is_spoilt(client, head):
                    response.extensions["network_stream"].close()
        except TFServingError:
            raise
        except Exception as error:
            if self._closed and isinstance(error, (*FAILURES, RuntimeError)):  # RuntimeError: what httpx says of it
                raise self._http.closed(method_of(send.address)) from error
            if not self._http.is_ours(error, progress):
                raise
            raise self._http.failure(error, send, progress) from error
        return self._http.reply(response, head, body, send)

    def _read(self, response: Response, head: Head, send: Send, progress: Progress) -> bytes:
        if response.is_stream_consumed:  # a mock's, which was never on a network
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
        """Break off what is under way and release the connections. May be called again."""
        self._closed = True
        self._punctual.break_off()
        self._lanes.close()

    def let_go(self) -> None:
        """In a forked process: leave the connections to the parent."""
        self._punctual.let_go()
