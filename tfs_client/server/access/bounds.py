"""Bounds: the limits of a server on connections and waiting calls, and its timeouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from tfs_client._printable import shown
from tfs_client.errors import ConfigError

FLAGS = {
    "max_connections": "--max_connections",
    "max_waiting_calls": "--max_waiting_calls",
    "idle_timeout": "--idle_timeout_seconds",
    "grpc_body_timeout": "--grpc_body_timeout_seconds",
    "rest_header_timeout": "--rest_api_header_timeout_seconds",
    "rest_body_timeout": "--rest_api_body_timeout_seconds",
    "rest_write_timeout": "--rest_api_write_timeout_seconds",
}

# The maximum number of calls of one connection, including those that were reset but not yet removed. Without it, a
# connection that opens and resets calls fills the queue in which the calls of all others wait.
MAX_STREAMS = 10_000
# gRPC queues calls until the server requests them, and ends those above this number as CANCELLED, which clients do not
# retry. So the limit is high: the server requests calls at once, and refuses excess calls itself.
MAX_PENDING = 1 << 20
HANDSHAKE_MILLISECONDS = 5_000  # for TLS and HTTP/2's first frames; connections count from the start
ENOUGH_FILES = 1 << 16
_MAX_MILLISECONDS = (1 << 31) - 1  # for gRPC, no limit


@dataclass(frozen=True)
class Bounds:
    """The limits of one server; ServerConfig describes each. ``math.inf`` seconds mean no limit."""

    max_connections: int = 10_000
    max_waiting_calls: int = 10_000
    idle_timeout: float = 300.0
    grpc_body_timeout: float = 120.0
    rest_header_timeout: float = 20.0
    rest_body_timeout: float = 30.0
    rest_write_timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_connections", "max_waiting_calls"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigError(f"expected {name} ({FLAGS[name]}) to be 1 or more, got {shown(number)}")
        timeouts = (
            "idle_timeout",
            "grpc_body_timeout",
            "rest_header_timeout",
            "rest_body_timeout",
            "rest_write_timeout",
        )
        for name in timeouts:
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
                raise ConfigError(f"expected {name} ({FLAGS[name]}) in seconds above 0, got {shown(seconds)}")

    def grpc_arguments(self) -> Mapping[str, int]:
        """Return the limits as arguments of a gRPC server."""
        return {
            "grpc.server.max_pending_requests": MAX_PENDING,
            "grpc.server.max_pending_requests_hard_limit": MAX_PENDING,
            "grpc.max_concurrent_streams": MAX_STREAMS,
            "grpc.max_allowed_incoming_connections": self.connections,
            "grpc.max_connection_idle_ms": _milliseconds(self.idle_timeout),
            "grpc.server_handshake_timeout_ms": HANDSHAKE_MILLISECONDS,
        }

    @property
    def connections(self) -> int:
        """The maximum number of connections of a port: at most a third of the files that the process may open.

        A third is for the other port, and a third for models and all else.
        """
        return max(1, min(self.max_connections, _open_files() // 3))


def _milliseconds(seconds: float) -> int:
    return _MAX_MILLISECONDS if seconds * 1000 >= _MAX_MILLISECONDS else max(1, round(seconds * 1000))


def _open_files() -> int:
    """Return the number of files that this process may open."""
    if os.name != "posix":
        return 1 << 31
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 31 if soft == resource.RLIM_INFINITY else soft


def raise_open_files() -> None:
    """Raise this process's limit of open files as far as possible. Only for programs that are just a server."""
    if os.name != "posix":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
