"""Connection: how to reach a server. The options that a transport needs, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfs_client._transports.proxy_urls import checked_proxy
from tfs_client._transports.targets import Target
from tfs_client.errors import ConfigError
from tfs_client.options import (
    TLS,
    UNSET,
    Keepalive,
    Limits,
    Unset,
    checked_channel_options,
    checked_compression,
    checked_kind,
)


@dataclass(frozen=True)
class Connection:
    """How to reach a server.

    Attributes:
        target: the server's address.
        tls: how the connection is secured; None for no TLS.
        keepalive: keepalive pings, which detect dead connections; None to disable.
        compression: of requests, "gzip" or "deflate", unless a call overrides it.
        interceptors: gRPC's interceptors, or over REST functions that receive each httpx.Request before it is sent.
        channel_options: the user's gRPC channel arguments.
        proxy: the URL of a proxy; None for none, UNSET for the environment's settings.
        limits: the limits on the size of replies.
    """

    target: Target
    tls: TLS | None = None
    keepalive: Keepalive | None = None
    compression: str | None = None
    interceptors: Sequence[Any] = ()
    channel_options: Mapping[str, Any] = field(default_factory=dict)
    proxy: str | Unset | None = field(default=UNSET, repr=False)  # it may hold a password
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        checked_kind("keepalive", self.keepalive, Keepalive)
        checked_compression_to(self.compression, self.target)
        object.__setattr__(self, "tls", checked_tls(self.tls, self.target))
        object.__setattr__(self, "channel_options", checked_channel_options(self.channel_options))
        object.__setattr__(self, "interceptors", _checked_interceptors(self.interceptors, self.target))
        if self.target.rest and self.channel_options:
            raise ConfigError(
                "channel_options apply to gRPC only: leave them out, or pass a gRPC target such as 'host:8500'"
            )
        if self.proxy is not UNSET:
            checked_proxy(self.proxy, self.target)


def checked_compression_to(compression: str | None, target: Target | None) -> str | None:
    """A compression of requests that the target's server reads. Raises ConfigError."""
    if target is not None and target.rest and compression == "deflate":
        raise ConfigError("a REST server reads gzip only: expected compression 'gzip' or None, got 'deflate'")
    return checked_compression(compression)


def checked_tls(tls: TLS | bool | None, target: Target) -> TLS | None:
    """The TLS of connections to a target; None for no TLS. Raises ConfigError."""
    if tls is True or (tls is None and target.secure):
        tls = TLS()
    if tls is False:
        tls = None
    if tls is not None and not isinstance(tls, TLS):
        raise ConfigError(f"expected tls=True or tls=TLS(...), got {tls!r}")
    if target.decides and (tls is None) == target.secure:
        secure, plain = ("https://", "http://") if target.rest else ("grpcs://", "grpc://")
        if tls:
            raise ConfigError(f"the target {target} is without TLS, and the options require TLS: write {secure}")
        raise ConfigError(f"the target {target} requires TLS, and tls=False turns it off: remove it, or write {plain}")
    return tls


def _checked_interceptors(interceptors: Any, target: Target) -> tuple[Any, ...]:
    try:
        found = tuple(interceptors or ())
    except TypeError:
        raise ConfigError(f"expected a list of interceptors, got {interceptors!r}") from None
    for one in found:
        if target.rest and not callable(one):
            raise ConfigError(f"expected interceptors as functions that take an httpx.Request, got {one!r}")
    return found
