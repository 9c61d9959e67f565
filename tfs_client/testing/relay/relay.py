"""ConnectionRelay: a relay in front of the ports of a fake server, which makes the faults of connections.

Clients connect to the relay, and it connects to the server for each of them. So it can reset, close and slow down
connections, and write to them what no server would. The server sees the relay's address; ``client_of`` has the
client's.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import TypeVar

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.server.grpc.listening import listening_sockets
from tfs_client.testing.relay.client_addresses import ClientAddresses, is_grpc, is_unix
from tfs_client.testing.relay.http2_frames import MAX_PAGE
from tfs_client.testing.relay.loop import Port, RelayLoop
from tfs_client.testing.relay.relayed_connection import RelayedConnection

T = TypeVar("T")

PATIENCE = 10.0  # seconds that an order may take; it takes microseconds unless the process is stopped
FIRST_CHECKS = 0.02  # seconds; within them a client that is gone has reset its half-closed connection

NO_PAGES = "an HTML page over gRPC needs a server without TLS: the relay passes TLS on and cannot write to it"
OVER_UNIX = "faults of connections need a port, got a call over a UNIX socket: give the client the port"


class ConnectionRelay:
    """The relay of one fake server.

    The methods for faults take ``peer`` as ``ServedCall.peer`` has it, and return whether this client was still
    connected. They return once the fault is in force, so that a hook can order it before the server replies. All calls
    on the connection suffer from it. A call whose connection has ended should be refused by its hook; otherwise it is
    recorded as answered or as cancelled, depending on which is first.

    Args:
        host: the address to listen on, as in ServerConfig.
        tls: whether the gRPC port is secured.
        without: for each transport ("grpc", "rest") that is served without the relay, the reason, for errors.
    """

    def __init__(self, host: str, *, tls: bool, without: Mapping[str, str]) -> None:
        self._host, self._tls, self._without = host, tls, dict(without)
        self._lock = threading.Lock()
        self._loop: RelayLoop | None = None
        self._thread: threading.Thread | None = None
        self._addresses = ClientAddresses()

    # --- life ---

    def open(self, transport: str, port: int, server_port: int) -> int:
        """Listen in front of a port of the server, and return the port; 0 chooses a free one.

        Raises ConfigError if it cannot be bound.
        """
        sockets = listening_sockets(self._host, port, " for REST" if transport == "rest" else "")
        loop = self._running()
        behind = Port(transport, server_port, not self._tls)
        for each in sockets:
            loop.order(lambda each=each: loop.listen(each, behind)).result(PATIENCE)  # type: ignore[misc]
        return int(sockets[0].getsockname()[1])

    def _running(self) -> RelayLoop:
        with self._lock:
            if self._loop is None:
                addresses = self._addresses = ClientAddresses()
                self._loop = RelayLoop(addresses)
                self._thread = threading.Thread(target=self._loop.run, name="tfs-fake-relay", daemon=True)
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        """Close the ports and, once clients have been sent what is left, all connections."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None:
            loop.stop()
        if thread is not None:
            thread.join(PATIENCE)

    def stop_with(self, server: object) -> None:
        """Stop when a server is collected that nobody has stopped: handles of faults may keep this relay alive."""
        weakref.finalize(server, self._stop_soon).atexit = False

    def _stop_soon(self) -> None:
        loop: RelayLoop | None = getattr(self, "_loop", None)
        if loop is not None:
            loop.stop()

    def __del__(self) -> None:
        self._stop_soon()

    # --- what the server asks ---

    def client_of(self, peer: str) -> str:
        """Return the client's address for one of the relay's, in the same notation."""
        return self._addresses.client_of(peer)

    def catch_up(self) -> None:
        """Pass on everything that clients have sent, and their ends."""
        if self._order(lambda loop: loop.catch_up()):
            time.sleep(FIRST_CHECKS)
            self._order(lambda loop: loop.catch_up())

    def has_departed(self, peer: str) -> bool:
        """Whether the connection of a client has ended. A client that has not used the relay has not departed."""
        return self._addresses.has_departed(peer)

    def lift_throttles(self) -> None:
        """End all throttles, so that the server can stop."""
        self._order(lambda loop: loop.lift_throttles())

    # --- faults ---

    def check_faults(self, transport: str | None) -> None:
        """Raise ConfigError if calls over this transport ("grpc", "rest", None for both) cannot have these faults."""
        for each, reason in self._without.items():
            if transport in (None, each):
                raise ConfigError(reason)

    def check_page(self, transport: str | None, page: bytes) -> None:
        """Raise ConfigError if calls over this transport cannot get this page."""
        self.check_faults(transport)
        if transport != "rest" and self._tls:
            raise ConfigError(NO_PAGES)
        if transport != "rest" and len(page) > MAX_PAGE:
            raise ConfigError(f"expected a page of at most {MAX_PAGE} bytes over gRPC, got {len(page)} bytes")

    def reset(self, peer: str, after_bytes: int = 0) -> bool:
        """Reset a client's connection, after this many further bytes to the client.

        If the reply is shorter than that, the connection is reset in the middle of a later one.
        """
        _check_number("after_bytes", after_bytes, 0)
        return self._change(peer, lambda connection: connection.end(resets=True, after_bytes=after_bytes))

    def close(self, peer: str, after_bytes: int = 0) -> bool:
        """Close a client's connection in order (FIN), after this many further bytes to the client."""
        _check_number("after_bytes", after_bytes, 0)
        return self._change(peer, lambda connection: connection.end(resets=False, after_bytes=after_bytes))

    def throttle(self, peer: str, bytes_per_second: float | None, for_bytes: int | None = None) -> bool:
        """Slow down what the client gets: the next ``for_bytes`` bytes, or everything. None ends the limit."""
        if bytes_per_second is not None:
            _check_number("bytes_per_second", bytes_per_second, 1)
        if for_bytes is not None:
            _check_number("for_bytes", for_bytes, 1)
        return self._change(peer, lambda connection: connection.throttle(bytes_per_second, for_bytes))

    def error_page(self, peer: str, status: int, page: bytes) -> bool:
        """Answer the call that a client waits for with an HTML page, as gateways do, and close the connection.

        Over gRPC all open calls of the connection get the page. Raises ConfigError as ``check_page`` does.
        """
        self.check_page("grpc" if is_grpc(peer) else "rest", page)
        return self._change(peer, lambda connection: connection.answer_with_page(status, page))

    def _change(self, peer: str, change: Callable[[RelayedConnection], None]) -> bool:
        if is_unix(peer):
            raise ConfigError(OVER_UNIX)
        self.check_faults("grpc" if is_grpc(peer) else "rest")
        addresses = self._addresses

        def work(loop: RelayLoop) -> bool:
            connection = addresses.find(peer)
            if connection is None:
                return False
            change(connection)
            return True

        return bool(self._order(work))

    def _order(self, work: Callable[[RelayLoop], T]) -> T | None:
        """Do something in the loop's thread and wait for it; None if the relay has stopped."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return None
        done = loop.order(lambda: work(loop))
        end = time.monotonic() + PATIENCE
        while thread.is_alive() and time.monotonic() < end:
            if futures.wait([done], 0.1).done:
                break
        return done.result(0) if done.done() else None


def _check_number(name: str, value: float, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise ConfigError(f"expected {name} of {least} or more, got {shown(value)}")
