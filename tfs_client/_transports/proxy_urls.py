"""URLs of proxies: read, check, and show them without their passwords."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tfs_client._transports.targets import Target
from tfs_client.errors import ConfigError

GRPC_SCHEMES = ("http",)  # gRPC supports no other (src/core/handshaker/http_connect/http_proxy_mapper.cc)
REST_SCHEMES = ("http", "https", "socks5", "socks5h")
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class ProxyUrl(NamedTuple):
    """The URL of a proxy.

    Attributes:
        scheme: "http", "https", "socks5" or "socks5h".
        host, port: its address; the port is the scheme's default if the URL has none.
        user, password: the credentials; "" for none.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def with_password(self) -> str:
        """The URL with its credentials."""
        who = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        return f"{self.scheme}://{f'{who}@' if who else ''}{self.address}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"

    def __repr__(self) -> str:
        return str(self)


def proxy_url(text: str, schemes: Collection[str]) -> ProxyUrl:
    """Read a URL. Raises ValueError; its text contains only the scheme, because the URL may hold a password."""
    scheme, colon, _ = text.partition("://")
    scheme = scheme.lower()
    if not colon:
        raise ValueError("the URL has no scheme")
    if scheme not in schemes:
        raise ValueError(f"its scheme is {scheme}://" if scheme.isalnum() else "it has another scheme")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it has no host and port") from None
    if not host or any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("it has no host and port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("it has more than a host and a port; write special characters of a password as %XX")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return ProxyUrl(scheme, host, port or PORTS[scheme], user, password)


def checked_proxy(proxy: object, target: Target) -> None:
    """Raise ConfigError unless ``proxy``, a URL or None, can be used for the target."""
    if proxy is None:
        return
    schemes = REST_SCHEMES if target.rest else GRPC_SCHEMES
    if not isinstance(proxy, str):
        raise ConfigError(f"expected proxy= as a URL such as 'http://host:3128', or None, got {type(proxy).__name__}")
    try:
        proxy_url(proxy, schemes)
    except ValueError as error:
        known = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigError(
            f"expected proxy= as a URL such as 'http://host:3128' ({'REST' if target.rest else 'gRPC'} takes {known}): "
            f"{error}"
        ) from None
    if not target.takes_proxy:
        raise ConfigError(f"proxy= and the target {target} contradict each other: no proxy can be used for this target")
