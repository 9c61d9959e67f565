"""GrpcRoute: from a gRPC channel to its servers, directly or through the tunnel of a proxy (HTTP CONNECT).

gRPC's own proxy detection is turned off. For hosts in no_proxy it would skip a proxy that the user passes, and for a
list of addresses it would ask the proxy for a server named like the whole list.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any

from tfs_client._transports.connection import Connection
from tfs_client._transports.proxies import CHANNEL_OPTIONS, environment_names_grpc_proxy, grpc_route
from tfs_client._transports.proxy_urls import ProxyUrl
from tfs_client._transports.targets import grpc_authority
from tfs_client.errors import ConfigError


class GrpcRoute:
    """The route of a connection's channels. Raises ConfigError for a proxy that cannot be resolved."""

    def __init__(self, connection: Connection) -> None:
        self._proxy = grpc_route(connection).proxy
        self._several = len(connection.target.hosts) > 1
        settled = any(name in connection.channel_options for name in CHANNEL_OPTIONS)
        self._quiet = not settled and (self._proxy is not None or environment_names_grpc_proxy())
        if self._proxy is not None and self._several:
            self._proxy = self._proxy._replace(host=_resolved(self._proxy))

    def to(self, address: str, arguments: dict[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
        """The target and the arguments of a channel to an address."""
        if not self._quiet:
            return address, list(arguments.items())
        found = {"grpc.enable_http_proxy": 0, **arguments}
        if (proxy := self._proxy) is None:
            return address, list(found.items())
        if proxy.user or proxy.password:
            shown = b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            found["grpc.http_connect_headers"] = f"Proxy-Authorization:Basic {shown}"
        if self._several:  # one tunnel for each address
            found["grpc.address_http_proxy"] = proxy.address
            found["grpc.address_http_proxy_enabled_addresses"] = "0.0.0.0/0,::/0"
            return address, list(found.items())
        server = grpc_authority(address)
        found["grpc.http_connect_server"] = server
        found.setdefault("grpc.default_authority", server)
        return proxy.address, list(found.items())


def _resolved(proxy: ProxyUrl) -> str:
    """The IP address of a proxy, which gRPC requires for several servers."""
    try:
        return str(socket.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the host name of the proxy {proxy} cannot be resolved: {error}") from None
