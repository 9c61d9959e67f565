"""The way from a gRPC channel to its servers: directly, or through the tunnel of a proxy (HTTP CONNECT).

gRPC's own look at the environment is turned off. It would skip a proxy that the user names for hosts in no_proxy, and
of a list of addresses it would ask the proxy for a server with the name of the whole list.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any

from tfs_client.errors import ConfigError
from tfs_client.options import Connection
from tfs_client.proxy_urls import ProxyUrl
from tfs_client.targets import grpc_authority
from tfs_client.transports.proxies import CHANNEL_OPTIONS, environment_names_grpc_proxy, grpc_route


class GrpcWay:
    """How the channels of a connection get to its servers. Raises ConfigError for a proxy without an address."""

    def __init__(self, connection: Connection) -> None:
        self._proxy = grpc_route(connection).proxy
        self._several = len(connection.target.hosts) > 1
        settled = any(name in connection.channel_options for name in CHANNEL_OPTIONS)
        self._quiet = not settled and (self._proxy is not None or environment_names_grpc_proxy())
        if self._proxy is not None and self._several:
            self._proxy = self._proxy._replace(host=_resolved(self._proxy))

    def to(self, address: str, arguments: dict[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
        """What a channel for servers at an address connects to, and its arguments."""
        if not self._quiet:
            return address, list(arguments.items())
        found = {"grpc.enable_http_proxy": 0, **arguments}
        if (proxy := self._proxy) is None:
            return address, list(found.items())
        if proxy.user or proxy.password:
            shown = b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            found["grpc.http_connect_headers"] = f"Proxy-Authorization:Basic {shown}"
        if self._several:  # each of the addresses by a tunnel
            found["grpc.address_http_proxy"] = proxy.address
            found["grpc.address_http_proxy_enabled_addresses"] = "0.0.0.0/0,::/0"
            return address, list(found.items())
        server = grpc_authority(address)
        found["grpc.http_connect_server"] = server
        found.setdefault("grpc.default_authority", server)
        return proxy.address, list(found.items())


def _resolved(proxy: ProxyUrl) -> str:
    """The IP address of a proxy, as gRPC wants it for several servers."""
    try:
        return str(socket.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the proxy {proxy} has no address here: {error}") from None
