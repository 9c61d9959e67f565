"""ClientAddresses: which client is behind each connection of a relay to its server."""

from __future__ import annotations

import socket
from urllib.parse import quote, unquote

from tfs_client.server.access.addresses import bracketed
from tfs_client.testing.relay.relayed_connection import RelayedConnection

MAPPED = "::ffff:"  # an IPv4 address as one of IPv6

Key = tuple[str, str]  # transport, and the client's address with its port


class ClientAddresses:
    """Written by the thread of the relay, read by any."""

    def __init__(self) -> None:
        # By transport and the relay's port. The server may serve a call of a connection that has ended, so entries
        # stay until the system uses the port again.
        self._clients: dict[tuple[str, str], tuple[str, int]] = {}
        self._open: dict[Key, RelayedConnection] = {}
        self._keys: dict[RelayedConnection, Key] = {}
        self._departed: set[Key] = set()

    def opened(self, transport: str, client: tuple[str, int], server: socket.socket, to: RelayedConnection) -> None:
        """Note the address of a client, whose connection to the server has this socket."""
        host, port = client[0].removeprefix(MAPPED), client[1]
        self._clients[transport, str(server.getsockname()[1])] = (host, port)
        key = self._keys[to] = (transport, f"{bracketed(host)}:{port}")
        self._open[key] = to
        self._departed.discard(key)

    def departed(self, connection: RelayedConnection) -> None:
        """Note that the connection of a client ends."""
        key = self._keys.pop(connection, None)
        if key is not None and self._open.get(key) is connection:
            self._departed.add(key)
            del self._open[key]

    def find(self, peer: str) -> RelayedConnection | None:
        """Return the connection of a client, if it is open."""
        return self._open.get(_key_of(peer))

    def has_departed(self, peer: str) -> bool:
        """Whether the connection of a client has ended. A client that has not used the relay has not departed."""
        return _key_of(peer) in self._departed

    def client_of(self, peer: str) -> str:
        """Return the client's address for one of the relay's, in the same notation."""
        transport = _transport_of(peer)
        found = self._clients.get((transport, peer.rpartition(":")[2]))
        if found is None:
            return peer
        host, port = found
        if transport == "rest":
            return f"{bracketed(host)}:{port}"
        if ":" not in host:
            return f"ipv4:{host}:{port}"
        return f"ipv6:{quote(f'[{host}]', safe=':') if '%5B' in peer else f'[{host}]'}:{port}"


def is_unix(peer: str) -> bool:
    """Whether a client has called over a UNIX socket."""
    return peer.startswith("unix:")


def is_grpc(peer: str) -> bool:
    """Whether an address is in the notation of gRPC."""
    return peer.startswith(("ipv4:", "ipv6:", "unix:"))


def _transport_of(peer: str) -> str:
    return "grpc" if is_grpc(peer) else "rest"


def _key_of(peer: str) -> Key:
    return _transport_of(peer), unquote(peer.partition(":")[2] if is_grpc(peer) else peer)
