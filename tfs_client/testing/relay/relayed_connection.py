"""RelayedConnection: passes the bytes of one client on to the server and back, and carries out its faults.

What one peer does is done to the other: data, the end of data (a half-close), and a reset. Data is read only once the
data before it has been written, so a peer that does not read slows down the other one, and the relay holds a piece of
data for each direction at most.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Protocol

from tfs_client.testing.relay.http2_frames import Http2Streams

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # close at once, and discard what is unsent
SLICE = 0.02  # seconds between the pieces of throttled data
# A reset discards what the system has not delivered, so it waits for that: seconds between looks, and in all.
DELIVERY_CHECK, DELIVERY = 0.001, 1.0


class Loop(Protocol):
    """What a connection needs of the loop that it belongs to."""

    buffer: memoryview

    def watch(self, sock: socket.socket, events: int, connection: RelayedConnection) -> None:
        """Call ``ready`` on these events; 0 for none."""

    def wake_at(self, moment: float | None, connection: RelayedConnection) -> None:
        """Call ``resume`` at this time; None: do not."""

    def check_errors(self, wanted: bool, connection: RelayedConnection) -> None:
        """Call ``check`` now and then, because a socket without events does not report a reset."""

    def departed(self, connection: RelayedConnection) -> None:
        """Note that the server loses its client, before anybody can see it; may be called twice."""

    def forget(self, connection: RelayedConnection) -> None:
        """Drop a connection that is closed."""


class RelayedConnection:
    """A client's connection and the one to the server that stands for it. All methods run in the thread of the loop.

    Args:
        client: the accepted socket.
        server: the socket that is connecting to the server.
        streams: follows the HTTP/2 of the connection, if it is gRPC in clear text.
    """

    def __init__(self, loop: Loop, client: socket.socket, server: socket.socket, streams: Http2Streams | None) -> None:
        self._loop = loop
        self._client, self._server = client, server
        self._streams = streams
        self._connecting = True
        self._to_server, self._to_client = bytearray(), bytearray()
        self._client_ended = self._server_ended = False  # their end of data has arrived
        self._client_shut = False  # the client has been sent the end of data
        self._server_gone = False
        self._events = {client: 0, server: 0}
        self._remaining: int | None = None  # bytes to the client until the end
        self._resets = False  # how it ends
        self._resets_by: float | None = None  # the moment for a reset whose bytes are not delivered
        self._rate: float | None = None  # bytes per second to the client
        self._slow_bytes: int | None = None  # bytes for which the rate holds
        self._next = 0.0  # the moment for the next slow piece
        self._page: tuple[int, bytes] | None = None  # waits for the end of a frame
        self._unasked = 0  # bytes to the client since it sent something
        self.closed: bool = False
        self._update()

    # --- faults ---

    def end(self, *, resets: bool, after_bytes: int) -> None:
        """End the connection after this many further bytes to the client."""
        self._remaining, self._resets = after_bytes, resets
        self._end_if_due()
        self._update()

    def throttle(self, rate: float | None, for_bytes: int | None) -> None:
        """Limit the bytes per second to the client, or end the limit."""
        self._rate, self._slow_bytes, self._next = rate, for_bytes, 0.0
        self._update()

    def answer_with_page(self, status: int, page: bytes) -> None:
        """Answer what the client waits for with a page, and close the connection."""
        if self._streams is not None and not self._streams.between_replies:
            self._page = (status, page)
        else:
            try:
                self._write_page(status, page)
            except OSError:
                self._failed(self._client)
        self._update()

    def _write_page(self, status: int, page: bytes) -> None:
        self._page = None
        if self._streams is not None:
            self._to_client += self._streams.page(status, page)
        else:
            sent_ahead = 1 if self._client_ended and self._unasked == 1 else 0  # see rest_connection.py
            self._to_client += _http_reply(status, page)[sent_ahead:]
        self._drop_server()
        self._remaining, self._resets = len(self._to_client), False
        self._flush_to_client()

    # --- events ---

    def ready(self, sock: socket.socket, events: int) -> None:
        """Handle the events of a socket."""
        try:
            if sock is self._client:
                if events & WRITE:
                    self._flush_to_client()
                if events & READ and not self.closed:
                    self._from_client()
            else:
                if self._connecting:
                    self._connected()
                if events & WRITE:
                    self._flush_to_server()
                if events & READ and not self._server_gone:
                    self._from_server()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._failed(sock)
        self._update()

    def resume(self) -> None:
        """Send the next slow piece, or reset if everything is delivered."""
        if self._resets_by is not None:
            self._end_if_due()
            self._update()
        else:
            self.ready(self._client, WRITE)

    def check(self) -> None:
        """Look for a reset at the sockets without events."""
        for sock, events in list(self._events.items()):
            if not events and sock.fileno() >= 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._failed(sock)
        self._update()

    @property
    def half_closed(self) -> bool:
        """Whether the client has ended its data and may be gone."""
        return self._client_ended and not self.closed

    @property
    def drained(self) -> bool:
        """Whether the client has been sent everything."""
        return self.closed or ((self._server_ended or self._server_gone) and not self._to_client)

    def close(self, *, resets: bool = False) -> None:
        """Close both connections, by a reset or by the end of data."""
        if self.closed:
            return
        self.closed = True
        self._loop.departed(self)
        self._loop.wake_at(None, self)
        self._loop.check_errors(False, self)
        self._loop.forget(self)  # before the client notices the end, and asks which calls have ended
        for sock in (self._client, self._server):
            self._watch(sock, 0)
            close_socket(sock, resets=resets)

    # --- from the client to the server ---

    def _connected(self) -> None:
        error = self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self._connecting = False

    def _from_client(self) -> None:
        size = self._client.recv_into(self._loop.buffer)
        self._unasked = 0
        if not size:
            self._client_ended = True
            self._end_data_to_server()
            return
        if self._server_gone:
            return
        data = self._loop.buffer[:size]
        if self._streams is not None:
            self._streams.requested(data)
        sent = self._try_to_send(self._server, data)
        self._to_server += data[sent:]

    def _flush_to_server(self) -> None:
        if self._to_server:
            del self._to_server[: self._try_to_send(self._server, self._to_server)]
            self._end_data_to_server()

    def _end_data_to_server(self) -> None:
        if self._client_ended and not self._to_server:
            if not self._server_gone:
                self._server.shutdown(socket.SHUT_WR)
            self._close_if_done()

    # --- from the server to the client ---

    def _from_server(self) -> None:
        size = self._server.recv_into(self._loop.buffer)
        if not size:
            self._server_ended = True
            self._end_data_to_client()
            return
        data = self._loop.buffer[:size]
        self._unasked += size
        insert = None if self._streams is None else self._streams.replied(data)
        if self._page is not None and insert is not None:
            self._to_client += data[:insert]
            self._write_page(*self._page)
            return
        sent = self._send_to_client(data)
        if not self.closed and not self._server_gone:
            self._to_client += data[sent:]

    def _flush_to_client(self) -> None:
        if self._to_client:
            sent = self._send_to_client(self._to_client)
            del self._to_client[:sent]
            self._end_data_to_client()

    def _send_to_client(self, data: memoryview | bytearray) -> int:
        """Send what the faults and the socket allow now; returns the number of bytes."""
        if self._remaining is None and self._rate is None:
            return self._try_to_send(self._client, data)
        size = len(data) if self._remaining is None else min(len(data), self._remaining)
        now = time.monotonic()
        if self._rate is not None:
            if now < self._next:
                return 0
            size = min(size, max(1, int(self._rate * SLICE)))
        sent = self._try_to_send(self._client, memoryview(data)[:size])
        if self._rate is not None:
            self._next = max(self._next, now - SLICE) + sent / self._rate
            if self._slow_bytes is not None:
                self._slow_bytes -= sent
                if self._slow_bytes <= 0:
                    self._rate = self._slow_bytes = None
        if self._remaining is not None:
            self._remaining -= sent
            self._end_if_due()
        return sent

    def _end_data_to_client(self) -> None:
        if self._server_ended and not self._to_client and not self.closed and not self._client_shut:
            self._shut_client()
            self._close_if_done()

    def _shut_client(self) -> None:
        self._client_shut = True
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)

    # --- ends ---

    def _end_if_due(self) -> None:
        """Carry out the ordered end if its bytes have been sent."""
        if self._remaining is None or self._remaining > 0 or self.closed:
            return
        if self._resets:
            now = time.monotonic()
            self._resets_by = now + DELIVERY if self._resets_by is None else self._resets_by
            if now >= self._resets_by or not _undelivered(self._client):
                self.close(resets=True)
            return
        self._remaining = None
        self._drop_server()
        self._to_client.clear()
        self._shut_client()
        self._close_if_done()

    def _drop_server(self) -> None:
        """Leave the server as a client does that is gone. From now on the client's data is discarded."""
        if not self._server_gone:
            self._server_gone = True
            self._loop.departed(self)
            self._watch(self._server, 0)
            close_socket(self._server, resets=True)
            self._to_server.clear()

    def _close_if_done(self) -> None:
        served = self._server_gone or self._server_ended
        if served and self._client_shut and self._client_ended and not self._to_server:
            self.close()

    def _failed(self, sock: socket.socket) -> None:
        """Pass a reset on. What the server has sent before its reset still reaches the client."""
        if sock is self._server and self._to_client and not self.closed:
            self._drop_server()
            unsent = len(self._to_client)
            self._remaining = unsent if self._remaining is None else min(unsent, self._remaining)
            self._resets = True
        else:
            self.close(resets=True)

    # --- events to wait for ---

    def _update(self) -> None:
        """Register with the loop what to wait for."""
        if self.closed:
            return
        resume = None
        if self._resets_by is not None:
            resume = time.monotonic() + DELIVERY_CHECK
        elif self._to_client and self._rate is not None and self._next > time.monotonic():
            resume = self._next
        client = READ if not self._client_ended and not self._to_server and not self._connecting else 0
        if self._to_client and resume is None:
            client |= WRITE
        self._watch(self._client, client)
        server = 0
        if not self._server_gone:
            server = WRITE if self._connecting or self._to_server else 0
            if not (self._server_ended or self._to_client or self._connecting or self._resets_by is not None):
                server |= READ
            self._watch(self._server, server)
        self._loop.wake_at(resume, self)
        self._loop.check_errors(not client or not (server or self._server_gone), self)

    def _watch(self, sock: socket.socket, events: int) -> None:
        if self._events[sock] != events:
            self._loop.watch(sock, events, self)
            self._events[sock] = events

    @staticmethod
    def _try_to_send(sock: socket.socket, data: memoryview | bytearray) -> int:
        try:
            return sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0


def close_socket(sock: socket.socket, *, resets: bool) -> None:
    """Close a socket by the end of data or by a reset."""
    with suppress(OSError):
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            sock.shutdown(socket.SHUT_RDWR)  # a forked process may have the socket, too
    sock.close()


def _undelivered(sock: socket.socket) -> int:
    """Return how many bytes the peer's system has not acknowledged; 0 where that is unknown."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _http_reply(status: int, page: bytes) -> bytes:
    from http.client import responses

    head = f"HTTP/1.1 {status} {responses.get(status, '')}\r\ncontent-type: text/html\r\n"
    return f"{head}content-length: {len(page)}\r\nconnection: close\r\n\r\n".encode() + page
