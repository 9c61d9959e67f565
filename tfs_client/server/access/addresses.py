"""Addresses: the numeric addresses of a host, resolved in the same way for gRPC and REST.

As in the model server: its gRPC library resolves 0.0.0.0 and :: to all addresses of both families, and a name to all
its addresses; its HTTP server listens on ::, which IPv4 reaches too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable

ANY_IPV4, ANY = "0.0.0.0", "::"
LOCALHOST = ("127.0.0.1", "::1")  # both, even if the hosts file has only one of them


def bracketed(host: str) -> str:
    """Format a host for an address with a port."""
    return f"[{host}]" if ":" in host else host


def bound(address: str, port: int) -> socket.socket:
    """Return a socket bound to a numeric address; ``::`` includes IPv4. Raises OSError."""
    family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if address == ANY:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if os.name == "posix":  # elsewhere it does more than skip the wait for old connections
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock


def is_available(address: str) -> bool:
    """Whether this machine has an address."""
    try:
        bound(address, 0).close()
    except OSError:
        return False
    return True


def resolved(host: str) -> list[str]:
    """Return all numeric addresses of a host. Raises OSError, and UnicodeError for an invalid name."""
    if host.lower().rstrip(".") == "localhost":
        return list(LOCALHOST)
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def addresses(host: str, available: Callable[[str], bool] = is_available) -> list[str]:
    """Return the numeric addresses on which a server for this host listens: those that this machine has.

    A host that means all addresses becomes ``::``, or ``0.0.0.0`` on a machine without IPv6. If the machine has none of
    the addresses, all are returned, and binding them reports the error. Raises OSError and UnicodeError.
    """
    found = resolved(host)
    if any(ipaddress.ip_address(address.partition("%")[0]).is_unspecified for address in found):
        return [ANY if available(ANY) else ANY_IPV4]
    return [address for address in found if available(address)] or found


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are loopback addresses; False for a host that cannot be resolved."""
    try:
        return all(map(_is_loopback, resolved(host)))
    except (OSError, UnicodeError):
        return False


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
