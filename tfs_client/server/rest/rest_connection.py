"""RestConnection: uvicorn's HTTP/1.1 on one connection, with the model server's error pages, and with limits.

A client that half-closes its connection may still wait for the response, or may be gone; the two look alike to the
socket. Only a write distinguishes them: a client that is gone resets the connection. So the first byte of the response,
which is the same for all, is sent ahead as soon as the client has half-closed, and ``SO_ERROR`` is checked until the
response is complete. Whatever is sent afterwards, a response or an error page, leaves that byte out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import h11
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tfs_client.server.access.bounds import Bounds
from tfs_client.server.access.log_limit import OncePerSecond
from tfs_client.server.access.timeouts import Phase, Timeouts
from tfs_client.server.rest.pages import HEADERS, page_text

log: logging.Logger = logging.getLogger(__name__)
log.addFilter(OncePerSecond())

MAX_HEADERS = 1 << 18  # bytes, which h11 reads in a tenth of a second; the model server has no limit
MAX_PIPELINED = 1 << 16  # bytes of later requests to buffer while a call runs; more stay in the socket
FIRST_PAUSE, LAST_PAUSE = 0.002, 1.0  # seconds between checks for a client that has half-closed; they double
PHRASES = {429: b"Client Error", 499: b"Client Error", 504: b"Gateway Time-out"}


class RestConnection(H11Protocol):
    """uvicorn's HTTP/1.1, without a log of requests, and with the model server's page for invalid HTTP.

    The state of a request holds "ended", an event that is set when the connection ends, and "watch", a function that
    makes the connection notice its end.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, bounds: Bounds) -> None:
        self.ended: asyncio.Event = asyncio.Event()
        super().__init__(config, state, {"ended": self.ended, "watch": self._watch})
        self.conn: _Http = _Http(h11.SERVER, MAX_HEADERS)
        self.logger: logging.Logger = log
        self.access_log = False
        self.timeouts: Timeouts = Timeouts(bounds, self.loop.time())
        self._received = 0  # bytes in total
        self._settled = 0  # the value of _received when the last response was complete
        self._answered = 0  # requests
        self.half_closed: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport, self.conn)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state is h11.IDLE:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        self._answered += 1
        self._settled = self._received
        super().on_response_complete()
        if self.half_closed and self.cycle.response_complete:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle a half-close: keep the connection if the client waits for the response to a complete request."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.half_closed = True
        self.transport.write(self.conn.first_byte())
        self._check_client(FIRST_PAUSE)
        return True

    def _check_client(self, pause: float) -> None:
        """Check repeatedly: asyncio does not watch half-closed connections."""
        if self.check_client():
            self.loop.call_later(pause, self._check_client, min(2 * pause, LAST_PAUSE))

    def check_client(self) -> bool:
        """Return whether a half-closed client may still wait. End the connection if it has refused the first byte."""
        if not self.half_closed or self.transport.is_closing() or self.cycle.response_complete:
            return False
        if self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return False
        return True

    def _watch(self) -> None:
        """Read on, to notice when the client disconnects: after a large body uvicorn pauses until the next read."""
        self.flow.resume_reading()

    def look(self, now: float) -> bool:
        """Return whether the connection has been in its phase for too long."""
        phase = self._phase()
        moved = -self._unsent() if phase is Phase.ANSWER else self._received
        return self.timeouts.expired(phase, self._answered, moved, now)

    def _phase(self) -> Phase:
        if self._unsent():
            return Phase.ANSWER
        if self.transport.is_closing():
            return Phase.CALL
        if self.cycle is not None and not self.cycle.response_complete:
            return Phase.BODY if self.cycle.more_body else Phase.CALL
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.UNREAD
        return Phase.IDLE if self._received == self._settled else Phase.HEAD

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def expire(self) -> None:
        """End a connection that has taken too long. A client that has not sent its whole request gets a page."""
        phase = self.timeouts.phase
        if phase is Phase.ANSWER:
            self._reset()
        elif phase in (Phase.HEAD, Phase.BODY):
            if self.cycle is not None:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._send_page(b"408 Request Timeout", 408)
        else:
            self.transport.close()

    def _reset(self) -> None:
        """End the connection at once, and discard what the client does not read, in our buffer and the system's."""
        with suppress(OSError):
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _socket(self) -> socket.socket:
        found: socket.socket = self.transport.get_extra_info("socket")
        return found

    def leave(self) -> None:
        """Close a connection without a request."""
        self.transport.close()

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _should_upgrade(self) -> bool:
        return False  # uvicorn would log for each such request that it has no protocol to upgrade to

    def send_400_response(self, msg: str) -> None:
        self._send_page(b"400 Bad Request", 400)

    def _send_page(self, status: bytes, code: int) -> None:
        self.transport.write(self.conn.without_first_byte(raw_response(status, page_text(code), HEADERS)))
        self.transport.close()


def raw_response(status: bytes, page: bytes, headers: dict[str, str]) -> bytes:
    """Return a complete response, made without h11."""
    head = [f"{name}: {value}\r\n" for name, value in {**headers, "content-length": str(len(page))}.items()]
    return b"HTTP/1.1 " + status + b"\r\n" + "".join(head).encode() + b"\r\n" + page


class _Http(h11.Connection):
    """h11's side of a connection. Head and body of a response are one write, with the model server's reason phrases."""

    _head: Sequence[bytes] = ()
    _ahead = 0  # bytes of the next response that have been sent

    def first_byte(self) -> bytes:
        """Return the first byte of the next response, to be sent ahead."""
        self._ahead = 1
        return b"H"

    def without_first_byte(self, response: bytes) -> bytes:
        """Return a response without the byte that may have been sent ahead."""
        ahead, self._ahead = self._ahead, 0
        return response[ahead:]

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if isinstance(event, h11.Response):
            phrase = PHRASES.get(event.status_code)
            self._head = super().send_with_data_passthrough(replace(event, reason=phrase) if phrase else event) or ()
            if self._ahead:
                self._head = [self.without_first_byte(b"".join(self._head))]
            return []
        parts = super().send_with_data_passthrough(event)
        head, self._head = self._head, ()
        return None if parts is None else [*head, *parts]


class _Flow(FlowControl):
    """uvicorn's flow control. It stops reading while the buffer holds enough of later requests."""

    def __init__(self, transport: asyncio.Transport, conn: h11.Connection) -> None:
        super().__init__(transport)
        self._conn = conn

    def resume_reading(self) -> None:
        if self.read_paused and not self._buffer_full():
            super().resume_reading()

    def _buffer_full(self) -> bool:
        return self._conn.their_state is h11.DONE and len(self._conn.trailing_data[0]) > MAX_PIPELINED
