"""Targets: where servers are, and whether they are spoken to in gRPC or in REST."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tfs_client.errors import ConfigError

_EXPECTED = "expected host:port, dns:///name:port, unix:path, http://host:port or a list of host:port"
_NO_USER = f"{_EXPECTED}, got user@host; over gRPC, pass credentials with token= or metadata="
_SCHEMES = ("unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:", "xds:")  # gRPC's own; their syntax is gRPC's matter
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:/\[\]\s]+):(?P<port>[0-9]+)")
_API = re.compile(r"/v1(/|$)", re.IGNORECASE)
_NO_PROXY = ("unix:", "unix-abstract:", "vsock:", "xds:")  # of this machine, or found by a control plane


@dataclass(frozen=True)
class Target:
    """Where to call.

    Attributes:
        addresses: gRPC targets as the user wrote them, one or, of replicas, several; or the URL of a REST server,
            without the slash at its end.
        rest: whether it is spoken to over REST.
    """

    addresses: tuple[str, ...]
    rest: bool = False

    @property
    def secure(self) -> bool:
        """Whether the target itself asks for TLS."""
        return self.rest and self.addresses[0].startswith("https:")

    @property
    def shown(self) -> tuple[str, ...]:
        """The addresses as they may be shown, without a password."""
        return tuple(map(without_password, self.addresses)) if self.rest else self.addresses

    @property
    def user(self) -> bool:
        """Whether a REST server's URL holds a user's name or password."""
        return self.rest and "@" in urlsplit(self.addresses[0]).netloc

    @property
    def takes_proxy(self) -> bool:
        """Whether a proxy can be on the way to it."""
        return not self.addresses[0].startswith(_NO_PROXY)

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each gRPC address, without brackets."""
        found = [part for address in self.addresses for part in grpc_authority(address).split(",")]
        return tuple(
            (host.strip("[]"), int(port))
            for host, _, port in (part.rpartition(":") for part in found)
            if port.isdigit()
        )

    def __str__(self) -> str:
        return ", ".join(self.shown)

    def __repr__(self) -> str:
        return f"Target({str(self)!r})"


def grpc_authority(address: str) -> str:
    """A gRPC address without its scheme and its resolver."""
    scheme = next((scheme for scheme in ("dns:", "ipv4:", "ipv6:") if address.startswith(scheme)), "")
    return address.removeprefix(scheme).rpartition("/")[2]


def without_password(url: str) -> str:
    """A URL as it may be shown. Of one that is wrong, too much rather than too little is left out."""
    try:
        parts = urlsplit(url)
        if parts.port is not None or parts.hostname:
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        pass
    return re.sub(r"//.*@", "//", url, count=1, flags=re.DOTALL)


def checked_target(target: str | Iterable[str]) -> Target:
    """The target that a user means. Raises ConfigError for what gRPC or httpx would misread.

    Naming: https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    if isinstance(target, str):
        if target.startswith(("http://", "https://")):
            return Target((_checked_url(target),), rest=True)
        return Target((_checked_grpc(target),))
    if not isinstance(target, Iterable) or isinstance(target, bytes):
        raise ConfigError(f"{_EXPECTED}, got {target!r}")
    addresses = tuple(dict.fromkeys(target))
    for address in addresses:
        if isinstance(address, str) and "@" in address:
            raise ConfigError(_NO_USER)
        if not isinstance(address, str) or not _HOST_PORT.fullmatch(address):
            raise ConfigError(f"expected replicas as a list of host:port, got {address!r}; REST takes one URL")
    if not addresses:
        raise ConfigError(f"{_EXPECTED}, got an empty list")
    return Target(tuple(map(_checked_grpc, addresses)))


def _checked_grpc(target: str) -> str:
    if not target.strip():
        raise ConfigError(f"{_EXPECTED}, got {target!r}")
    if target.startswith(("grpc://", "grpcs://")):
        raise ConfigError(
            f"{_EXPECTED}, got {without_password(target)!r}: gRPC targets have no scheme; the gRPC port is usually "
            "8500, as in 'localhost:8500', and tls=True secures the connection"
        )
    if target.startswith(_SCHEMES):
        return target
    if "@" in target:
        raise ConfigError(_NO_USER)
    address = target.rpartition("/")[2] if target.startswith("dns:") else target
    match = _HOST_PORT.fullmatch(address.removeprefix("dns:"))
    if match is None:
        raise ConfigError(f"{_EXPECTED}, got {target!r}; the gRPC port is usually 8500, the REST port 8501")
    port = match["port"]
    _check_port(int(port) if len(port) < 10 else 0, target)
    return target


def _checked_url(url: str) -> str:
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        why = "its port is not a number; special characters of a password are written as %XX"
        raise ConfigError(f"expected http://host:port, got {shown!r}: {why if '@' in url else error}") from None
    if not parts.hostname or any(character.isspace() for character in url):
        raise ConfigError(f"expected http://host:port, got {shown!r}")
    if parts.query or parts.fragment or _API.search(parts.path):
        raise ConfigError(
            f"expected the server's address without the path of a call, got {shown!r}; model= names a model"
        )
    if port is not None:
        _check_port(port, shown)
    return url.rstrip("/")


def _check_port(port: int, target: str) -> None:
    if not 0 < port < 65536:
        raise ConfigError(f"expected a port from 1 to 65535, got {target[:100]!r}")
