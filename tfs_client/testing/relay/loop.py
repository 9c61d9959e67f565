"""RelayLoop: one thread that accepts the clients of a relay and moves the bytes of all its connections."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from tfs_client.testing.relay.client_addresses import MAPPED
from tfs_client.testing.relay.http2_frames import Http2Streams
from tfs_client.testing.relay.relayed_connection import RelayedConnection, close_socket

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

PIECE = 1 << 18  # bytes to receive at once
TURNS = 5  # enough to pass on what several sockets have received, and the ends that follow
FIRST_CHECK, LAST_CHECK = 0.002, 0.05  # seconds between checks for resets at half-closed connections; they double
LAST_WRITES = 0.5  # seconds for data that clients have not read when the relay stops
PAUSE = 0.05  # seconds without accepting when the process has too many files


class Port(NamedTuple):
    """A port of the server: its transport ("grpc" or "rest"), its number, and whether the relay can read its bytes."""

    transport: str
    number: int
    readable: bool


class Addresses(Protocol):
    """Learns of connections before any of their bytes is passed on, and of their ends before client and server do."""

    def opened(self, transport: str, client: tuple[str, int], server: socket.socket, to: RelayedConnection) -> None:
        """Note a connection: the client's address, and the socket to the server."""

    def departed(self, connection: RelayedConnection) -> None:
        """Note that the server loses its client; may be called twice."""


class RelayLoop:
    """The loop, which refers to no server: a thread would keep it alive.

    Args:
        addresses: learns of connections.
    """

    def __init__(self, addresses: Addresses) -> None:
        self.buffer: memoryview = memoryview(bytearray(PIECE))
        self._addresses = addresses
        self._selector = selectors.DefaultSelector()
        self._woken, self._waking = socket.socketpair()
        self._woken.setblocking(False)
        self._waking.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._orders: deque[Callable[[], None]] = deque()
        self._listeners: dict[socket.socket, Port] = {}
        self._connections: set[RelayedConnection] = set()
        self._moments: dict[RelayedConnection, float] = {}
        self._checked: set[RelayedConnection] = set()
        self._pause, self._next_check = FIRST_CHECK, 0.0
        self._accepts_at: float | None = None  # the moment to accept again
        self._ends_at: float | None = None  # the moment to stop at the latest

    # --- for other threads ---

    def run(self) -> None:
        """Work until ``stop``."""
        try:
            while not self._finished():
                self._turn(self._timeout())
        finally:
            for connection in list(self._connections):
                connection.close(resets=not connection.drained)
            for listener in self._listeners:
                listener.close()
            while self._orders:
                self._orders.popleft()()
            self._selector.close()
            self._woken.close()
            self._waking.close()

    def order(self, work: Callable[[], T]) -> Future[T]:
        """Do something in the thread of the loop, soon."""
        done: Future[T] = Future()

        def do() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._orders.append(do)
        with suppress(OSError):  # it will look by itself; or it has ended
            self._waking.send(b"\0")
        return done

    def stop(self) -> None:
        """Stop accepting, and end the loop once clients have been sent everything, or after LAST_WRITES seconds."""

        def stop() -> None:
            self._ends_at = time.monotonic() + LAST_WRITES
            for listener in self._listeners:
                self._register(listener, 0)
                close_socket(listener, resets=False)
            self._listeners.clear()

        self.order(stop)

    # --- in the thread of the loop ---

    def listen(self, listener: socket.socket, port: Port) -> None:
        """Accept the clients of a listening socket."""
        listener.setblocking(False)
        self._listeners[listener] = port
        self._register(listener, selectors.EVENT_READ)

    def catch_up(self) -> bool:
        """Pass on everything that has arrived. Returns whether a client may be gone that only a check reveals."""
        for _ in range(TURNS):
            if not self._events(0):
                break
        for connection in list(self._checked):
            connection.check()
        return any(connection.half_closed for connection in self._connections)

    def lift_throttles(self) -> None:
        """Send what throttled connections hold back."""
        for connection in self._connections:
            connection.throttle(None, None)

    def watch(self, sock: socket.socket, events: int, connection: RelayedConnection) -> None:
        """See relayed_connection.Loop."""
        self._register(sock, events, connection)

    def wake_at(self, moment: float | None, connection: RelayedConnection) -> None:
        """See relayed_connection.Loop."""
        if moment is not None:
            self._moments[connection] = moment
        elif self._moments:
            self._moments.pop(connection, None)

    def check_errors(self, wanted: bool, connection: RelayedConnection) -> None:
        """See relayed_connection.Loop."""
        if not wanted:
            self._checked.discard(connection)
        elif connection not in self._checked:
            self._checked.add(connection)
            self._pause = FIRST_CHECK
            self._next_check = time.monotonic() + FIRST_CHECK

    def departed(self, connection: RelayedConnection) -> None:
        """See relayed_connection.Loop."""
        self._addresses.departed(connection)

    def forget(self, connection: RelayedConnection) -> None:
        """See relayed_connection.Loop."""
        self._connections.discard(connection)

    def _finished(self) -> bool:
        if self._ends_at is None:
            return False
        return time.monotonic() >= self._ends_at or all(connection.drained for connection in self._connections)

    def _timeout(self) -> float | None:
        moments = [*self._moments.values()]
        if self._checked:
            moments.append(self._next_check)
        moments += [moment for moment in (self._accepts_at, self._ends_at) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _turn(self, timeout: float | None) -> None:
        self._events(timeout)
        while self._orders:
            self._orders.popleft()()
        if not self._moments and not self._checked and self._accepts_at is None:
            return
        now = time.monotonic()
        for connection in [each for each, moment in self._moments.items() if moment <= now]:
            del self._moments[connection]
            self._guarded(connection, connection.resume)
        if self._checked and now >= self._next_check:
            for connection in list(self._checked):
                self._guarded(connection, connection.check)
            self._pause = min(2 * self._pause, LAST_CHECK)
            self._next_check = now + self._pause
        if self._accepts_at is not None and now >= self._accepts_at:
            self._accepts_at = None
            for listener in self._listeners:
                self._register(listener, selectors.EVENT_READ)

    def _events(self, timeout: float | None) -> int:
        """Handle the events of the sockets; returns their number."""
        found = self._selector.select(timeout)
        for key, events in found:
            sock, connection = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            if connection is not None:
                if not connection.closed:
                    self._guarded(connection, connection.ready, sock, events)
            elif sock is self._woken:
                with suppress(BlockingIOError):
                    sock.recv(4096)
            elif sock in self._listeners:
                self._accept(sock)
        return len(found)

    @staticmethod
    def _guarded(connection: RelayedConnection, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception:  # the other connections continue
            log.exception("a relayed connection failed")
            connection.close(resets=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # mostly too many open files
            log.warning("the relay cannot accept a connection: %s", error)
            self._accepts_at = time.monotonic() + PAUSE
            for each in self._listeners:
                self._register(each, 0)
            return
        try:
            self._open(client, address, self._listeners[listener])
        except OSError as error:  # the server stops, or the process has too many open files
            log.info("the relay cannot reach its server: %s", error)
            close_socket(client, resets=True)

    def _open(self, client: socket.socket, address: tuple[str, int], port: Port) -> None:
        host, _, *others = client.getsockname()
        family = client.family
        if host.startswith(MAPPED):  # a server at :: is reached by IPv4, too
            host, family, others = host.removeprefix(MAPPED), socket.AF_INET, []
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            for sock in (client, server):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(BlockingIOError):
                server.connect((host, port.number, *others))
        except BaseException:
            server.close()
            raise
        streams = Http2Streams() if port.transport == "grpc" and port.readable else None
        connection = RelayedConnection(self, client, server, streams)
        self._connections.add(connection)
        self._addresses.opened(port.transport, address, server, connection)

    def _register(self, sock: socket.socket, events: int, connection: RelayedConnection | None = None) -> None:
        registered = sock in self._selector.get_map()
        if events and registered:
            self._selector.modify(sock, events, connection)
        elif events:
            self._selector.register(sock, events, connection)
        elif registered:
            self._selector.unregister(sock)
