"""Targets: the addresses of servers, and whether to use gRPC or REST."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tfs_client.errors import ConfigError

_EXPECTED = (
    "expected host:port, grpc://host:port, grpcs://host:port (with TLS), dns:///name:port, unix:path, http://host:port "
    "or a list of host:port"
)
_LIST = "pass several targets as a list"
_NO_USER = f"{_EXPECTED}, got user@host; over gRPC, pass credentials with token= or metadata="
_URL_SCHEMES = ("grpc://", "grpcs://")  # ours: without and with TLS
GRPC_SCHEMES = ("unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:", "xds:")  # gRPC's own; gRPC checks their syntax
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:/\[\]\s]+):(?P<port>[0-9]+)")
_OUR_SCHEME = re.compile(r"\A(?:https?|grpcs?)://", re.IGNORECASE)
_API = re.compile(r"/v1(/|$)", re.IGNORECASE)
_NO_PROXY = ("unix:", "unix-abstract:", "vsock:", "xds:")  # on this machine, or resolved by a control plane


@dataclass(frozen=True)
class Target:
    """The address of a server, or of several replicas.

    Attributes:
        addresses: gRPC's names of the targets, several for replicas; or the URL of a REST server, without a trailing
            slash.
        rest: whether to use REST.
        scheme: "grpc://" or "grpcs://" if the user wrote it in front of the addresses.
    """

    addresses: tuple[str, ...]
    rest: bool = False
    scheme: str = ""

    @property
    def secure(self) -> bool:
        """Whether the target itself requires TLS."""
        return self.scheme == "grpcs://" or (self.rest and self.addresses[0].startswith("https:"))

    @property
    def decides(self) -> bool:
        """Whether the target itself says that TLS is used, or that it is not."""
        return self.rest or bool(self.scheme)

    @property
    def shown(self) -> tuple[str, ...]:
        """The addresses as the user wrote them, without passwords, for texts."""
        if self.rest:
            return tuple(map(without_password, self.addresses))
        return tuple(f"{self.scheme}{address}" for address in self.addresses)

    @property
    def user(self) -> bool:
        """Whether a REST server's URL contains a user name or password."""
        return self.rest and "@" in urlsplit(self.addresses[0]).netloc

    @property
    def takes_proxy(self) -> bool:
        """Whether a proxy can be used for it."""
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


def peer_of(target: Target) -> str:
    """The server's address as a gRPC target names it, without resolver; "" if it is one of several.

    gRPC's Python API does not report the address to which a call went.
    """
    address = target.addresses[0]
    if len(target.addresses) > 1 or address.startswith(("vsock:", "xds:")):
        return ""
    if address.startswith(("unix:", "unix-abstract:")):
        return address
    authority = grpc_authority(address)
    return authority if _HOST_PORT.fullmatch(authority) else ""


def without_password(url: str) -> str:
    """A URL without its password, for texts. Of a malformed URL, more than the password may be omitted."""
    try:
        parts = urlsplit(url)
        if parts.port is not None or parts.hostname:
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        pass
    return re.sub(r"//.*@", "//", url, count=1, flags=re.DOTALL)


def checked_target(target: str | Iterable[str]) -> Target:
    """Read a target. Raises ConfigError for one that gRPC or httpx would misread.

    Naming: https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    if isinstance(target, str):
        target = _lower_scheme(target)
        if target.startswith(("http://", "https://")):
            return Target((_checked_url(target),), rest=True)
        return _grpc_target((target,))
    if not isinstance(target, Iterable) or isinstance(target, bytes):
        raise ConfigError(f"{_EXPECTED}, got {target!r}")
    addresses = tuple(dict.fromkeys(_lower_scheme(one) if isinstance(one, str) else one for one in target))
    for address in addresses:
        if isinstance(address, str) and "@" in address:
            raise ConfigError(_NO_USER)
        if not isinstance(address, str) or not _HOST_PORT.fullmatch(address.removeprefix(_scheme(address))):
            raise ConfigError(f"expected replicas as a list of host:port, got {address!r}; REST takes one URL")
    if not addresses:
        raise ConfigError(f"{_EXPECTED}, got an empty list")
    return _grpc_target(addresses)


def _grpc_target(targets: tuple[str, ...]) -> Target:
    """The target of one or several gRPC servers. Raises ConfigError."""
    scheme = _scheme(targets[0])
    if other := next((target for target in targets if _scheme(target) != scheme), None):
        raise ConfigError(
            f"expected replicas with the same scheme, got {targets[0]!r} and {other!r}: write grpc:// or grpcs:// in "
            "front of all of them, or of none"
        )
    return Target(tuple(map(_checked_url_of_grpc if scheme else _checked_grpc, targets)), scheme=scheme)


def _lower_scheme(target: str) -> str:
    """The target with its scheme in lower case, as schemes of URLs are not case-sensitive."""
    return _OUR_SCHEME.sub(lambda found: found[0].lower(), target)


def _scheme(target: str) -> str:
    return next((scheme for scheme in _URL_SCHEMES if target.startswith(scheme)), "")


def _checked_url_of_grpc(url: str) -> str:
    """The address in grpc://host:port or grpcs://host:port. Raises ConfigError."""
    if "@" in url:
        raise ConfigError(_NO_USER)
    scheme = _scheme(url)
    address = url.removeprefix(scheme)
    match = _HOST_PORT.fullmatch(address)
    if match is None:
        hint = _LIST if "," in url else "the gRPC port is usually 8500"
        raise ConfigError(f"expected {scheme}host:port, got {url!r}; {hint}")
    _check_grpc_port(match["port"], url)
    return address


def _checked_grpc(target: str) -> str:
    if not target.strip():
        raise ConfigError(f"{_EXPECTED}, got {target!r}")
    if target.startswith(GRPC_SCHEMES):
        return target
    if "@" in target:
        raise ConfigError(_NO_USER)
    address = target.rpartition("/")[2] if target.startswith("dns:") else target
    match = _HOST_PORT.fullmatch(address.removeprefix("dns:"))
    if match is None:
        hint = _LIST if "," in target else "the gRPC port is usually 8500, the REST port 8501"
        raise ConfigError(f"{_EXPECTED}, got {target!r}; {hint}")
    _check_grpc_port(match["port"], target)
    return target


def _check_grpc_port(port: str, target: str) -> None:
    _check_port(int(port) if len(port) < 10 else 0, target)


def _checked_url(url: str) -> str:
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        why = "its port is not a number; write special characters of a password as %XX"
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
