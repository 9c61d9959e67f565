"""Replicas: servers given by their names, whose IP addresses are looked up again from time to time.

gRPC does that itself for one DNS name. For a list of names it has no resolver, so they are resolved here, and it gets a
list of IP addresses to balance.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tfs_client.transports.grpc_channel import address_of, has_names

INTERVAL = 30.0  # seconds between two looks, as in gRPC's own resolver


class Replicas:
    """The address of one or more servers, in gRPC's terms."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._named = has_names(addresses)
        self._next = time.monotonic() + INTERVAL
        self.address = address_of(addresses)

    def due(self) -> bool:
        """Whether it is time to look again. Says so to one caller only."""
        if not self._named or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + INTERVAL
        return True

    def moved(self) -> bool:
        """Look up the names; whether that changed the address."""
        before, self.address = self.address, address_of(self._addresses)
        return self.address != before
