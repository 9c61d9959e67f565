"""Accepting: accept new connections one by one, and answer those above the limit with a refusal.

asyncio's own accept loop has no limit, and logs a traceback for each connection when the process has no free file.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from tfs_client.server.access.connection_limits import Connections
from tfs_client.server.access.log_limit import OncePerSecond

log: logging.Logger = logging.getLogger(__name__)
log.addFilter(OncePerSecond())

AT_ONCE = 64  # connections accepted in one turn of the event loop
NO_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
LINGER = 0.5  # seconds for which a refused connection stays open, so that unread request data does not reset the answer
LINGERING = 32  # maximum number of such connections; more are closed at once
PAUSE = 0.05  # seconds without accepting when the process has no free file


class Acceptor:
    """Accepts the connections of listening sockets.

    Args:
        listeners: the sockets.
        connections: the open connections.
        count: returns the number of open connections.
        protocol: makes the protocol of a new connection.
        refusal: the answer to clients above the limit.
        loop: the event loop.

    A file descriptor is kept in reserve: when the process has no free file, the descriptor is closed for as long as it
    takes to refuse a connection. Otherwise clients would wait for an answer until another connection closes.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        connections: Connections,
        count: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
        refusal: bytes,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._listeners = listeners
        self._connections = connections
        self._count = count
        self._protocol = protocol
        self._refusal = refusal
        self._loop = loop
        self._making: set[asyncio.Task[None]] = set()
        self._lingering: set[socket.socket] = set()
        self._reserve: int | None = None
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to accept connections."""
        for listener in self._listeners:
            listener.setblocking(False)
        self._keep_reserve()
        self._resume()

    def stop(self) -> None:
        """Stop accepting. Connections that have been accepted are still made."""
        self._stop_watching()
        if self._pause is not None:
            self._pause.cancel()

    def close(self) -> None:
        """Close the listening sockets, refused connections and the reserve."""
        for listener in self._listeners:
            listener.close()
        for refused in list(self._lingering):
            self._end(refused)
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _resume(self) -> None:
        self._pause = None
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _stop_watching(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                if error.errno in NO_FILES:
                    self._out_of_files(error, listener)
                elif error.errno not in (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED):
                    log.warning("REST cannot accept a connection: %s", error)
                return
            accepted.setblocking(False)
            if self._count() + len(self._making) < self._connections.limit or self._connections.make_room():
                self._make(accepted)
            else:
                log.warning("REST has %d connections, the maximum; further ones get 503", self._connections.limit)
                self._refuse(accepted)

    def _make(self, accepted: socket.socket) -> None:
        async def make() -> None:
            try:
                await self._loop.connect_accepted_socket(self._protocol, accepted)
            except OSError:  # the client has already gone
                accepted.close()

        task = self._loop.create_task(make())
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    def _refuse(self, accepted: socket.socket) -> None:
        """Answer, and close the connection once the client has had time to read the answer."""
        with suppress(OSError):
            accepted.send(self._refusal)
            accepted.shutdown(socket.SHUT_WR)
        self._lingering.add(accepted)
        self._loop.call_later(LINGER if len(self._lingering) <= LINGERING else 0, self._end, accepted)

    def _end(self, refused: socket.socket) -> None:
        self._lingering.discard(refused)
        with suppress(OSError):  # unread data at the close would reset the connection and lose the answer
            refused.recv(65536)
        refused.close()

    def _out_of_files(self, error: OSError, listener: socket.socket) -> None:
        """Close idle connections, whose files are free in the next turn; without any, refuse one connection."""
        log.warning("REST cannot accept a connection: %s. Closing idle ones, or answering 503", error.strerror)
        if self._connections.make_room():
            return
        refused = self._in_reserve(listener)
        self._stop_watching()
        self._pause = self._loop.call_later(PAUSE, self._after_pause, refused)

    def _in_reserve(self, listener: socket.socket) -> socket.socket | None:
        """Accept and refuse the next connection, with the file of the reserve."""
        if self._reserve is None:
            return None
        os.close(self._reserve)
        self._reserve = None
        with suppress(OSError):
            refused = listener.accept()[0]
            refused.setblocking(False)
            self._lingering.add(refused)
            with suppress(OSError):
                refused.send(self._refusal)
                refused.shutdown(socket.SHUT_WR)
            return refused
        return None

    def _after_pause(self, refused: socket.socket | None) -> None:
        if refused is not None:
            self._end(refused)
        self._keep_reserve()
        self._resume()

    def _keep_reserve(self) -> None:
        if self._reserve is None:
            with suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY)
