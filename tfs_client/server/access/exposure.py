"""Exposure: whether strangers can send reloads to the gRPC port."""

from __future__ import annotations

import ipaddress
import socket

from tfs_client.server.config import ServerConfig


def is_exposed(config: ServerConfig) -> bool:
    """Whether the gRPC port is open to other machines, with neither a token nor client certificates to guard it.

    A UNIX socket counts as local: the rights of its directory say who may connect.
    """
    if config.port is None or config.token is not None:
        return False
    if config.tls is not None and config.tls.client_verify:
        return False
    return not is_loopback(config.host)


def is_loopback(host: str) -> bool:
    """Whether a host stands for loopback addresses only; False for one that cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_loopback(str(address[0])) for *_, address in found)


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
