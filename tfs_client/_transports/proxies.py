"""Proxies: the proxy for the calls to a server, from the client's option or from the environment.

It is determined here, once, for both protocols; httpx and gRPC get the result and do not read the environment. So
settings for other hosts never cause an error, and error texts about proxies describe what really happens.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tfs_client._transports.connection import Connection
from tfs_client._transports.proxy_urls import GRPC_SCHEMES, REST_SCHEMES, ProxyUrl, proxy_url
from tfs_client.options import Unset


@dataclass(frozen=True)
class Route:
    """The route of calls to a server.

    Attributes:
        proxy: the proxy to use; None for none.
        variable: the environment variable that names the proxy; "" if the client's option does.
        exceptions: the variable that lists the hosts to reach without a proxy.
        problem: why the proxy that the environment names cannot be used; "" if it can.
    """

    proxy: ProxyUrl | None = None
    variable: str = ""
    exceptions: str = ""
    problem: str = ""

    @property
    def note(self) -> str:
        """A sentence on the proxy, for error texts; "" without a proxy."""
        if self.proxy is None:
            return ""
        if not self.variable:
            return f" The call goes through the proxy {self.proxy} (set by proxy=): is the proxy running?"
        return (
            f" The call goes through the proxy {self.proxy} (set by the environment); to bypass it, add the host to "
            f"{self.exceptions}."
        )


DIRECT = Route()

# Channel options that determine the route already.
CHANNEL_OPTIONS = ("grpc.enable_http_proxy", "grpc.http_proxy", "grpc.http_connect_server", "grpc.address_http_proxy")


def rest_route(connection: Connection) -> Route:
    """The route to a REST server. The variables are those that Python's urllib reads, and the system's settings."""
    if not isinstance(connection.proxy, Unset):
        return _chosen(connection.proxy, REST_SCHEMES)
    from urllib.request import getproxies  # imports half of the standard library's network modules; httpx does too

    proxies = getproxies()
    parts = urlsplit(connection.target.addresses[0])
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(kind)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or excepted(host, port, proxies.get("no", ""), parts.scheme) or _excepted_by_system(host):
        return DIRECT
    variable = f"{kind.upper()}_PROXY"
    try:
        return Route(proxy_url(proxy if "://" in proxy else f"http://{proxy}", REST_SCHEMES), variable, "NO_PROXY")
    except ValueError as error:
        return Route(None, variable, "NO_PROXY", str(error))


def grpc_route(connection: Connection) -> Route:
    """The route to gRPC servers. The variables are gRPC's own; the proxy applies to all servers of a list, or to none.

    A proxy that gRPC cannot use is ignored, as gRPC itself does.
    https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
    """
    if not isinstance(connection.proxy, Unset):
        return _chosen(connection.proxy, GRPC_SCHEMES)
    if not connection.target.takes_proxy or any(name in connection.channel_options for name in CHANNEL_OPTIONS):
        return DIRECT
    variable, proxy = _first("grpc_proxy", "https_proxy", "http_proxy")
    name, exceptions = _first("no_grpc_proxy", "no_proxy", "NO_PROXY")
    if not proxy or all(_grpc_excepted(host, port, exceptions) for host, port in connection.target.hosts):
        return DIRECT
    try:
        return Route(proxy_url(proxy, GRPC_SCHEMES), variable, name or "no_proxy")
    except ValueError:
        return DIRECT


def environment_names_grpc_proxy() -> bool:
    """Whether gRPC would use a proxy by default."""
    return bool(_first("grpc_proxy", "https_proxy", "http_proxy")[1])


def _chosen(proxy: str | None, schemes: Iterable[str]) -> Route:
    return DIRECT if proxy is None else Route(proxy_url(proxy, tuple(schemes)))


def _first(*names: str) -> tuple[str, str]:
    """The first variable that is set. An empty one means no proxy to gRPC."""
    return next(((name, os.environ[name]) for name in names if name in os.environ), ("", ""))


def excepted(host: str, port: int, exceptions: str, scheme: str = "") -> bool:
    """Whether a list such as NO_PROXY matches a host.

    Entries are names, which match their subdomains, too (with a leading dot, only these), IP addresses, and networks
    such as 10.0.0.0/8 and fd00::/8; each with optional brackets, port or scheme. "*" matches every host.
    """
    return any(_names(entry.strip().lower(), host.lower().strip("[]"), port, scheme) for entry in exceptions.split(","))


def _names(entry: str, host: str, port: int, scheme: str) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    if "://" in entry:
        own, _, entry = entry.partition("://")
        if own not in ("all", scheme):
            return False
        entry = entry.rstrip("/")
    entry, own_port = _without_port(entry)
    if own_port and own_port != str(port):
        return False
    if (network := _network(entry)) is not None:
        address = _address(host)
        return address is not None and address.version == network.version and address in network
    if entry.startswith(("*.", ".")):
        return host.endswith(entry.removeprefix("*"))
    return host == entry or (host.endswith(f".{entry}") and _address(host) is None)


def _without_port(entry: str) -> tuple[str, str]:
    """Split an entry into the host, without brackets, and the port."""
    if entry.startswith("["):
        inner, _, rest = entry[1:].partition("]")
        return (f"{inner}{rest}", "") if rest.startswith("/") else (inner, rest.removeprefix(":"))
    name, colon, port = entry.rpartition(":")
    return (name, port) if colon and port.isdigit() and ":" not in name else (entry, "")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _grpc_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether a host is exempt, by the rules above or by gRPC's own: any name that ends with an entry."""
    endings = tuple(filter(None, (entry.strip().lower() for entry in exceptions.split(","))))
    return host.lower().endswith(endings) or excepted(host, port, exceptions)


def _excepted_by_system(host: str) -> bool:
    """Whether the settings of Windows or macOS exempt a host; they apply if the environment names no proxy."""
    if sys.platform not in ("win32", "darwin"):
        return False
    from urllib.request import getproxies_environment, proxy_bypass

    return not getproxies_environment() and bool(proxy_bypass(host))
