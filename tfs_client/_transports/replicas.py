"""Replicas: servers whose names are resolved again from time to time.

gRPC does that itself for a single DNS name. It has no resolver for a list of names, so they are resolved here, and gRPC
gets a list of IP addresses to balance.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence

from tfs_client._transports.connection_log import log_addresses, log_unresolved

INTERVAL = 30.0  # seconds between two look-ups, as in gRPC's own resolver

Endpoint = tuple[str, int]  # IP address, port


class Replicas:
    """The address of one or more servers, in gRPC's terms.

    Attributes:
        address: what gRPC connects to; "" until the names have been resolved.
        named: whether there are names to resolve, now and from time to time.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.named = has_names(addresses)
        self._known: dict[str, tuple[Endpoint, ...]] = {}
        self._unresolved: set[str] = set()
        self._next = 0.0
        self.address = addresses[0]
        if len(addresses) > 1:
            self.address = "" if self.named else address_of(list(map(endpoint, addresses)))

    def due(self) -> bool:
        """Whether it is time to resolve the names. Returns True to one caller only."""
        if not self.named or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + INTERVAL
        return True

    def moved(self) -> bool:
        """Resolve the names. Returns whether that changed the address.

        A name that cannot be resolved now keeps its addresses: a DNS outage is not an outage of the servers. If no name
        was ever resolved, gRPC gets the first one, and reports that it cannot be resolved.
        """
        for address in self._addresses:
            found = resolved(address)
            if found:
                self._known[address] = found
                self._unresolved.discard(address)
            elif address not in self._unresolved:
                self._unresolved.add(address)
                log_unresolved(address, known=address in self._known)
        before = self.address
        resolved_to = address_of([one for known in self._known.values() for one in known])
        self.address = resolved_to or self._addresses[0]
        if resolved_to and resolved_to != before:
            log_addresses(self._addresses, resolved_to, before)
        return self.address != before


def resolved(address: str) -> tuple[Endpoint, ...]:
    """The IP addresses of a ``host:port``; empty if it cannot be resolved."""
    host, _, port = address.rpartition(":")
    try:
        infos = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError for strings that cannot be host names
        return ()
    return tuple((str(info[4][0]), int(port)) for info in infos)


def endpoint(address: str) -> Endpoint:
    """Split a ``host:port`` whose host is an IP address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def address_of(endpoints: Sequence[Endpoint]) -> str:
    """gRPC's target for IP addresses, sorted, so that equal sets give equal targets; "" for none."""
    found = sorted(set(endpoints))
    if not found:
        return ""
    if all(":" not in host for host, _ in found):
        return "ipv4:" + ",".join(f"{host}:{port}" for host, port in found)
    return "ipv6:" + ",".join(f"[{host if ':' in host else f'::ffff:{host}'}]:{port}" for host, port in found)


def has_names(addresses: Sequence[str]) -> bool:
    """Whether a list of addresses contains names, whose IP addresses may change."""
    return len(addresses) > 1 and not all(map(is_ip, addresses))


def is_ip(address: str) -> bool:
    """Whether the host of a ``host:port`` is an IP address."""
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
