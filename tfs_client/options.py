"""What a user may set: targets, deadlines, metadata, limits. Checked when given, so that mistakes show at once."""

from __future__ import annotations

import enum
import numbers
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfs_client.errors import ConfigError


class Unset(enum.Enum):
    """The type of UNSET: the option was not given, the client's default counts. None means no limit, or none."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET

DEFAULT_TIMEOUT = 30.0  # seconds
LONGEST = 1e9  # seconds; gRPC counts nanoseconds in 64 bits, and takes a deadline beyond them for one that has passed

Metadata = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
MetadataPairs = tuple[tuple[str, str | bytes], ...]
ChannelOptions = Mapping[str, Any] | Iterable[tuple[str, Any]]

_EXPECTED = "expected host:port, dns:///name:port or unix:path"
_SCHEMES = ("unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:", "xds:")  # gRPC's own; their syntax is gRPC's matter
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:/\[\]\s]+):(?P<port>[0-9]+)")


def checked_target(target: str) -> str:
    """A gRPC target, as given. Raises ConfigError for what gRPC would misread.

    Naming: https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    if not isinstance(target, str) or not target.strip():
        raise ConfigError(f"{_EXPECTED}, got {target!r}")
    if target.startswith(("http://", "https://", "grpc://", "grpcs://")):
        scheme = target.partition(":")[0]
        what = "REST targets are not supported" if scheme.startswith("http") else "gRPC targets have no scheme"
        raise ConfigError(f"{_EXPECTED}, got {target!r}: {what}; the gRPC port is usually 8500, as in 'localhost:8500'")
    if target.startswith(_SCHEMES):
        return target
    address = target.rpartition("/")[2] if target.startswith("dns:") else target
    match = _HOST_PORT.fullmatch(address.removeprefix("dns:"))
    if match is None:
        raise ConfigError(f"{_EXPECTED}, got {target!r}; the gRPC port is usually 8500")
    if not 0 < int(match["port"]) < 65536:
        raise ConfigError(f"expected a port from 1 to 65535, got {target!r}")
    return target


def checked_timeout(timeout: float | None) -> float | None:
    """Seconds until a call is given up, or None for no limit."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not timeout > 0:
        raise ConfigError(f"expected a timeout in seconds above 0, or None for no limit, got {timeout!r}")
    return None if timeout > LONGEST else float(timeout)


_KEY = re.compile(r"[0-9a-z_.-]+")


def checked_metadata(metadata: Metadata | None) -> MetadataPairs:
    """Metadata pairs as gRPC takes them: lower-case keys, ASCII text, bytes only under keys that end in "-bin"."""
    if not metadata:
        return ()
    try:
        pairs = tuple((key, value) for key, value in (metadata.items() if isinstance(metadata, Mapping) else metadata))
    except (TypeError, ValueError):
        raise ConfigError(f"expected metadata by key, or pairs of key and value, got {metadata!r}") from None
    for key, value in pairs:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(f"expected a metadata key of lower-case letters, digits, '_', '-' and '.', got {key!r}")
        if not isinstance(value, (str, bytes)) or key.endswith("-bin") != isinstance(value, bytes):
            want = (
                "bytes, for its name ends in -bin" if key.endswith("-bin") else "text; bytes need a key ending in -bin"
            )
            raise ConfigError(f"metadata {key!r} takes {want}, got {type(value).__name__}")
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise ConfigError(f"metadata {key!r} takes printable ASCII text, got {value!r}")
    return pairs


def checked_channel_options(options: ChannelOptions | None) -> dict[str, Any]:
    """gRPC channel arguments by name."""
    if not options:
        return {}
    try:
        pairs = dict(options)
    except (TypeError, ValueError):
        raise ConfigError(f"expected channel options by name, or pairs of name and value, got {options!r}") from None
    for name, value in pairs.items():
        if not isinstance(name, str) or not isinstance(value, (int, str, bytes)):
            raise ConfigError(f"expected channel options of text to int, str or bytes, got {name!r}: {value!r}")
        if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            raise ConfigError(f"expected channel options of 32 bits at most, got {name!r}: {value!r}")
    return pairs


@dataclass(frozen=True)
class Deadline:
    """The moment by which everything a call does must be done; each step gets what remains."""

    at: float | None  # on the monotonic clock; None: no limit

    @classmethod
    def after(cls, timeout: float | None) -> Deadline:
        """``timeout`` seconds from now."""
        return cls(None if timeout is None else time.monotonic() + timeout)

    def remaining(self) -> float | None:
        """Seconds left, at least a millisecond: a spent deadline still makes its call, which then fails as such."""
        return None if self.at is None else max(0.001, self.at - time.monotonic())

    def passed(self) -> bool:
        """Whether the moment is over."""
        return self.at is not None and time.monotonic() >= self.at
