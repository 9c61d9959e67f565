"""The HTTP library: the one module that imports httpx, so that a successor can take its place.

Whoever replaces it provides these names: the two kinds of client with ``send``, ``build_request`` and their ``close``,
the classes of what they raise, and how a client is opened.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar
from importlib.util import find_spec
from typing import Any, NamedTuple

import httpx
from httpx import (
    AsyncClient,
    Client,
    ConnectError,
    ConnectTimeout,
    HTTPError,
    InvalidURL,
    LocalProtocolError,
    ProxyError,
    RemoteProtocolError,
    Request,
    Response,
    TimeoutException,
    UnsupportedProtocol,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ClientOptions",
    "ConnectError",
    "ConnectTimeout",
    "HTTPError",
    "Head",
    "InvalidURL",
    "LocalProtocolError",
    "ProxyError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "TimeoutException",
    "UnsupportedProtocol",
    "is_spoilt",
    "open_asyncio",
    "open_blocking",
    "pools",
    "proxy_problem",
]

KEPT = 64  # idle connections of one client


@dataclass(frozen=True)
class ClientOptions:
    """How a client is opened.

    Attributes:
        context: how connections are secured; None when they are not.
        proxy: the URL of the proxy that every request goes by; "" for none.
        proxy_context: how connections to an ``https://`` proxy are secured.
        socket_options: set on every connection, except those to a SOCKS proxy.
        expiry: seconds for which an idle connection is kept.
        hooks: called with each request before it is sent; coroutine functions for an AsyncClient.
        agent: the User-Agent header.
        encodings: the Accept-Encoding header.
    """

    context: ssl.SSLContext | None
    proxy: str
    proxy_context: ssl.SSLContext | None
    socket_options: Sequence[tuple[int, int, int]]
    expiry: float
    hooks: Sequence[Callable[[Any], Any]]
    agent: str
    encodings: str


def proxy_problem(url: str) -> str:
    """Why a proxy cannot be used, "" when it can. The text does not show the URL, which may hold a password."""
    scheme = url.partition(":")[0]
    try:
        httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        return f"httpx {httpx.__version__} does not take this {scheme}:// URL"
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return "SOCKS needs the package socksio (pip install 'httpx[socks]')"
    return ""


def open_blocking(options: ClientOptions) -> Client:
    """A blocking client. ``proxy_problem`` says which proxies cannot be used."""
    return httpx.Client(transport=httpx.HTTPTransport(**_of_connections(options)), **_of_calls(options))


def open_asyncio(options: ClientOptions) -> AsyncClient:
    """The same for asyncio."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**_of_connections(options)), **_of_calls(options))


def _of_connections(options: ClientOptions) -> dict[str, Any]:
    """Arguments of transports. The environment is not read: which proxy and which authorities count is settled."""
    proxy = httpx.Proxy(options.proxy, ssl_context=options.proxy_context) if options.proxy else None
    return {
        "verify": options.context or httpx.create_ssl_context(verify=False),
        "trust_env": False,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=KEPT, keepalive_expiry=options.expiry),
        "proxy": proxy,
        "socket_options": list(options.socket_options) or None,
    }


class _NoCookies(CookieJar):
    """Stores no cookies: one caller's session must not reach the next caller."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Ignore the reply's cookies."""


def _of_calls(options: ClientOptions) -> dict[str, Any]:
    """Arguments of clients. Their own time limits are off: the call's deadline is the limit. Nothing is remembered."""
    return {
        "timeout": None,
        "trust_env": False,
        "follow_redirects": False,
        "cookies": _NoCookies(),
        "headers": {"user-agent": options.agent, "accept-encoding": options.encodings},
        "event_hooks": {"request": list(options.hooks)},
    }


def pools(client: Client | AsyncClient) -> Iterator[Any]:
    """The pools of connections below a client, which httpx has no public way to reach.

    It gives nothing where somebody, such as a mock, has put transports without a pool in their place.
    """
    for transport in (getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()):
        layer, depth = transport, 0
        while layer is not None and not hasattr(layer, "_pool") and depth < 8:  # others wrap the one they replace
            layer, depth = getattr(layer, "_transport", None), depth + 1
        pool = getattr(layer, "_pool", None)
        if getattr(pool, "_network_backend", None) is not None:
            yield pool


class Head(NamedTuple):
    """What the head of a reply says of its body; "" for what it does not say.

    Attributes:
        kind: its Content-Type.
        encoding: its Content-Encoding.
        length: its Content-Length.
        transfer: its Transfer-Encoding.
    """

    kind: str
    encoding: str
    length: str
    transfer: str

    @classmethod
    def of(cls, response: Response) -> Head:
        """Of a reply. httpx looks through all headers for each that it is asked for."""
        found = {b"content-type": b"", b"content-encoding": b"", b"content-length": b"", b"transfer-encoding": b""}
        for name, value in response.headers.raw:
            if (name := name.lower()) in found:
                found[name] = found[name] + b", " + value if found[name] else value
        return cls(*(value.decode("latin-1") for value in found.values()))


def is_spoilt(client: Client | AsyncClient, head: Head) -> bool:
    """Whether more arrived than the reply, so that the next call would take it for its own answer.

    What arrives later shows when the connection is used again: httpcore then looks whether there is anything to read.
    It does not look at what was read already, and stands in the buffers of h11 or anyio.
    """
    if head.length and head.transfer:
        return True  # two ends of one body: others may see the other one (RFC 9112, 6.3)
    for pool in pools(client):
        for connection in pool.connections:
            while connection is not None and not hasattr(connection, "_h11_state"):  # proxies have one in another
                connection = getattr(connection, "_connection", None)
            if connection is not None and connection._h11_state.trailing_data[0]:
                return True
            if isinstance(client, AsyncClient) and _is_ahead(connection):
                return True
    return False


def _is_ahead(connection: Any) -> bool:
    """Whether the streams of anyio below a connection have read more than they were asked for."""
    layer = getattr(connection, "_network_stream", None)
    while layer is not None:
        if getattr(getattr(layer, "_protocol", None), "read_queue", None):
            return True
        if getattr(getattr(layer, "_read_bio", None), "pending", 0):
            return True
        layer = getattr(layer, "_stream", None) or getattr(layer, "transport_stream", None)
    return False
