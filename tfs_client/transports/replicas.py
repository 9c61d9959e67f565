"""Replicas: servers given by their names, whose IP addresses are looked up again from time to time.

gRPC does that itself for one DNS name. For a list of names it has no resolver, so they are resolved here, and it gets a
list of IP addresses to balance.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence

INTERVAL = 30.0  # seconds between two looks, as in gRPC's own resolver

Endpoint = tuple[str, int]  # IP address, port


class Replicas:
    """The address of one or more servers, in gRPC's terms.

    Attributes:
        address: what gRPC connects to; "" while names have not been looked up yet.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._named = has_names(addresses)
        self._known: dict[str, tuple[Endpoint, ...]] = {}
        self._next = 0.0
        self.address = addresses[0]
        if len(addresses) > 1:
            self.address = "" if self._named else address_of(list(map(endpoint, addresses)))

    def due(self) -> bool:
        """Whether it is time to look up names. Says so to one caller only."""
        if not self._named or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + INTERVAL
        return True

    def moved(self) -> bool:
        """Look up the names; whether that changed the address.

        A name that cannot be resolved now keeps the addresses it had: an outage of the DNS is none of the servers'.
        When none was ever resolved, gRPC gets the first name, to say so.
        """
        for address in self._addresses:
            found = resolved(address)
            if found:
                self._known[address] = found
        before = self.address
        self.address = address_of([one for known in self._known.values() for one in known]) or self._addresses[0]
        return self.address != before


def resolved(address: str) -> tuple[Endpoint, ...]:
    """The IP addresses of a ``host:port``; none when it cannot be resolved."""
    host, _, port = address.rpartition(":")
    try:
        infos = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for what is no name at all
        return ()
    return tuple((str(info[4][0]), int(port)) for info in infos)


def endpoint(address: str) -> Endpoint:
    """A ``host:port`` whose host is an IP address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def address_of(endpoints: Sequence[Endpoint]) -> str:
    """gRPC's target for a list of IP addresses, in an order of their own; "" for none."""
    found = sorted(set(endpoints))
    if not found:
        return ""
    if all(":" not in host for host, _ in found):
        return "ipv4:" + ",".join(f"{host}:{port}" for host, port in found)
    return "ipv6:" + ",".join(f"[{host if ':' in host else f'::ffff:{host}'}]:{port}" for host, port in found)


def has_names(addresses: Sequence[str]) -> bool:
    """Whether a list of addresses holds names, whose IP addresses may change."""
    return len(addresses) > 1 and not all(map(is_ip, addresses))


def is_ip(address: str) -> bool:
    """Whether the host of a ``host:port`` is an IP address."""
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
