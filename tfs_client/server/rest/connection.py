"""RestConnection: uvicorn's HTTP/1.1 on one connection, with the model server's pages, and bounded."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tfs_client.server.access.bounds import Bounds
from tfs_client.server.access.log_limit import OncePerSecond
from tfs_client.server.access.timeouts import Phase, Timeouts
from tfs_client.server.rest.pages import HEADERS, page_text

log = logging.getLogger(__name__)
log.addFilter(OncePerSecond())

MAX_HEADERS = 1 << 18  # bytes, which are read in a tenth of a second; the model server knows no limit
MAX_PIPELINED = 1 << 16  # bytes of later requests that are kept while a call runs; the others wait in the network
FIRST_PAUSE, LAST_PAUSE = 0.002, 1.0  # seconds between looks for a client that sends no more; they grow
PHRASES = {429: b"Client Error", 499: b"Client Error", 504: b"Gateway Time-out"}


class RestConnection(H11Protocol):
    """uvicorn's HTTP/1.1, without a log of requests, and with the model server's page for what is no HTTP.

    Requests have in their state when the connection has "ended", and how to "watch" for it.

    A client that sends no more may still wait for its answer, or may have gone; that looks alike. Only who is sent
    something and has gone says so. So the first byte of the answer, which is the same in all, is sent at once.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, bounds: Bounds) -> None:
        self.ended = asyncio.Event()
        super().__init__(config, state, {"ended": self.ended, "watch": self._watch})
        self.conn: _Answers = _Answers(h11.SERVER, MAX_HEADERS)
        self.logger = log
        self.access_log = False
        self.timeouts = Timeouts(bounds, self.loop.time())
        self._received = 0  # bytes, ever
        self._settled = 0  # how many of them had come when the last answer was complete
        self._answered = 0  # requests
        self._half_closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self.conn)

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
        if self._half_closed and self.cycle.response_complete:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. Keep the connection if it has sent a whole request that has no answer yet."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._half_closed = True
        self.transport.write(self.conn.first_byte())
        self._look_for_client(FIRST_PAUSE)
        return True

    def _look_for_client(self, pause: float) -> None:
        """See whether the first byte was refused, now and again; asyncio does not look at such connections."""
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(pause, self._look_for_client, min(2 * pause, LAST_PAUSE))

    def _watch(self) -> None:
        """Notice when the client goes. After a large body uvicorn reads no more until it is asked for the next part."""
        self.flow.resume_reading()

    def look(self, now: float) -> bool:
        """Look at what the connection does; True when that has taken too long."""
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
        """End a connection that has taken too long: whoever has not sent all of a request is told."""
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
        """End the connection at once; neither we nor the system keep what the client does not read."""
        with suppress(OSError):
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _socket(self) -> Any:
        return self.transport.get_extra_info("socket")

    def leave(self) -> None:
        """End a connection without a request."""
        self.transport.close()

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _should_upgrade(self) -> bool:
        return False  # there is nothing to upgrade to, which uvicorn would say in the log each time

    def send_400_response(self, msg: str) -> None:
        self._send_page(b"400 Bad Request", 400)

    def _send_page(self, status: bytes, code: int) -> None:
        self.transport.write(self.conn.without_first_byte(page_answer(status, page_text(code), HEADERS)))
        self.transport.close()


def page_answer(status: bytes, page: bytes, headers: dict[str, str]) -> bytes:
    """A whole answer, made without h11."""
    head = [f"{name}: {value}\r\n" for name, value in {**headers, "content-length": str(len(page))}.items()]
    return b"HTTP/1.1 " + status + b"\r\n" + "".join(head).encode() + b"\r\n" + page


class _Answers(h11.Connection):
    """h11's side of a connection. An answer's head and body leave in one piece, and have the model server's phrases."""

    _head: Sequence[bytes] = ()
    _ahead = 0  # bytes of the next answer that have been sent

    def first_byte(self) -> bytes:
        """The first byte of the next answer, for sending it ahead."""
        self._ahead = 1
        return b"H"

    def without_first_byte(self, answer: bytes) -> bytes:
        """The rest of an answer."""
        ahead, self._ahead = self._ahead, 0
        return answer[ahead:]

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
    """uvicorn's flow control, which reads no more while later requests wait that have come already."""

    def __init__(self, transport: asyncio.Transport, conn: h11.Connection) -> None:
        super().__init__(transport)
        self._conn = conn

    def resume_reading(self) -> None:
        if self.read_paused and not self._crowded():
            super().resume_reading()

    def _crowded(self) -> bool:
        return self._conn.their_state is h11.DONE and len(self._conn.trailing_data[0]) > MAX_PIPELINED
