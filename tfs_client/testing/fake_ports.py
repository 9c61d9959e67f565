"""FakePorts: the ports of a fake server, with or without a relay, which stay the same when it starts again."""

from __future__ import annotations

import threading
from dataclasses import replace

from tfs_client.errors import ConfigError
from tfs_client.server import Server, ServerConfig
from tfs_client.server.access.addresses import bracketed
from tfs_client.testing.relay.relay import ConnectionRelay

SWITCHED_OFF = "faults of connections need FakeServer(connection_faults=True), got False"
ONLY_A_SOCKET = "faults of connections need a port, got a server with a UNIX socket only: give ServerConfig a port"


class FakePorts:
    """Starts and stops a server, and the relay in front of it.

    Args:
        config: the options of the server as the user has given them.
        port, rest_port: fixed ports, if they are given apart from the config.
        relayed: whether clients connect to the relay.

    Attributes:
        server_config: the options to give to the server.
        relay: the relay.
    """

    def __init__(self, config: ServerConfig, port: int | None, rest_port: int | None, *, relayed: bool) -> None:
        config = replace(
            config,
            port=_fixed("port", config.port, port),
            rest_port=_fixed("rest_port", config.rest_port, rest_port),
        )
        self._address = bracketed(config.host)
        self._relayed = relayed
        self._relays_grpc = relayed and config.port is not None
        self._port = config.port
        self._rest_port = config.rest_port  # None until REST is open
        self._rest_is_open = False
        self._lock = threading.Lock()
        if relayed:  # the relay has the ports that clients use
            inner = None if config.port is None else 0
            self.server_config: ServerConfig = replace(config, port=inner, rest_port=None)
        else:
            self.server_config = config
        without = {} if relayed else {"grpc": SWITCHED_OFF, "rest": SWITCHED_OFF}
        if config.port is None:
            without.setdefault("grpc", ONLY_A_SOCKET)
        self.relay: ConnectionRelay = ConnectionRelay(config.host, tls=config.tls is not None, without=without)

    def start(self, server: Server) -> None:
        """Start a server; without effect if it runs. Raises ConfigError if a port cannot be bound."""
        with self._lock:
            if server._is_running():
                return
            self._stop(server)  # the relay of a server that was stopped by itself
            server.start()
            try:
                if self._relays_grpc:
                    self._port = self.relay.open("grpc", self._port or 0, server.port)
                elif self._port is not None:
                    self._port = server.port
                    server.config = replace(server.config, port=self._port)  # for the next start
                if self._rest_port is not None:
                    self._open_rest(server)
            except BaseException:
                self._stop(server)
                raise

    def stop(self, server: Server) -> None:
        """Stop a server, and then the relay, which passes on the last replies."""
        with self._lock:
            self._stop(server)

    def _stop(self, server: Server) -> None:
        self.relay.lift_throttles()  # the server waits for replies that are being sent
        server.stop()
        self.relay.stop()
        self._rest_is_open = False

    def target(self, server: Server) -> str:
        """Return the target for a client over gRPC. Raises ClosedError if the server is not running."""
        target = server.target
        return f"{self._address}:{self._port}" if self._relays_grpc else target

    def rest_url(self, server: Server) -> str:
        """Return the target for a client over REST, and open its port if necessary. Raises as Server.open_rest."""
        with self._lock:
            return self._open_rest(server)

    def _open_rest(self, server: Server) -> str:
        if not self._relayed:
            url = server.open_rest(self._rest_port)
            self._rest_port = _port_of(url)
            return url
        behind = _port_of(server.open_rest())
        if not self._rest_is_open:
            self._rest_port = self.relay.open("rest", self._rest_port or 0, behind)
            self._rest_is_open = True
        return f"http://{self._address}:{self._rest_port}"


def _fixed(name: str, configured: int | None, given: int | None) -> int | None:
    """Return the port from the config, or the one that was given apart from it."""
    if given is None:
        return configured
    if configured and given != configured:
        raise ConfigError(f"expected one {name}, got {configured} in the config and {given} as an argument")
    return given


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2])
