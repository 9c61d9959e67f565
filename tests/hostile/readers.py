"""Every door for foreign bytes, by name."""

from __future__ import annotations

from .engine import Reader
from .readers_files import file_readers
from .readers_rest import rest_readers
from .readers_sockets import socket_readers
from .readers_wire import wire_readers


def all_readers() -> list[Reader]:
    """All readers, the fast ones first."""
    return [*wire_readers(), *rest_readers(), *file_readers(), *socket_readers()]
