"""Forks: a forked process must not use its parent's connections, nor end them."""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet


class Connected(Protocol):
    """What can let go of its connection."""

    def _abandon(self) -> tuple[Any, ...]:
        """Let go of the connection, to make another when it is needed. Returns what was let go of."""


_clients: WeakSet[Any] = WeakSet()
_left: list[Any] = []  # of the parent; taking a gRPC channel apart would wait for threads that the child does not have


def watch(client: Connected) -> None:
    """From now on the client lets go of its connection in forked processes."""
    _clients.add(client)


def _forked() -> None:
    for client in list(_clients):
        _left.append(client._abandon())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
