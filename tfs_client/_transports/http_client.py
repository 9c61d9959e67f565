"""The HTTP library. Only this module imports httpx, so that it can be replaced.

A replacement provides these names: the two kinds of client with ``send``, ``build_request`` and their ``close``, the
exceptions that they raise, and the functions that open a client.
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

from tfs_client._transports.reply import address

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectError",
    "ConnectTimeout",
    "HTTPError",
    "Head",
    "HttpOptions",
    "InvalidURL",
    "LocalProtocolError",
    "ProxyError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "TimeoutException",
    "UnsupportedProtocol",
    "aimed_at",
    "must_close",
    "open_asyncio",
    "open_blocking",
    "pools",
    "proxy_problem",
]

KEPT = 64  # idle connections of one client


@dataclass(frozen=True)
class HttpOptions:
    """The options of an HTTP client.

    Attributes:
        context: the TLS of connections; None for no TLS.
        proxy: the URL of the proxy that every request uses; "" for none.
        proxy_context: the TLS of connections to an ``https://`` proxy.
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
    """Why a proxy cannot be used; "" if it can. The text does not contain the URL, which may hold a password."""
    scheme = url.partition(":")[0]
    try:
        httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        return f"httpx {httpx.__version__} does not accept this {scheme}:// URL"
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return "SOCKS requires the package socksio (pip install 'httpx[socks]')"
    return ""


def aimed_at(server: str, target: bytes) -> httpx.URL:
    """Return the URL of a server with another path and query. The path cannot change the server.

    Raises InvalidURL for what no path may contain.
    """
    try:
        return httpx.URL(server).copy_with(raw_path=target)
    except UnicodeError as error:
        raise InvalidURL(f"expected a path in ASCII: {error}") from None


def open_blocking(options: HttpOptions) -> Client:
    """Open a blocking client. ``proxy_problem`` says which proxies cannot be used."""
    return httpx.Client(transport=httpx.HTTPTransport(**_of_connections(options)), **_of_calls(options))


def open_asyncio(options: HttpOptions) -> AsyncClient:
    """Open an asyncio client."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**_of_connections(options)), **_of_calls(options))


def _of_connections(options: HttpOptions) -> dict[str, Any]:
    """Arguments of transports. The environment is not read: proxy and authorities are determined already."""
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

    def extract_cookies(self, response: object, request: object) -> None:
        """Ignore the reply's cookies."""


def _of_calls(options: HttpOptions) -> dict[str, Any]:
    """Arguments of clients. Their own timeouts are off: the call's deadline applies. Nothing is remembered."""
    return {
        "timeout": None,
        "trust_env": False,
        "follow_redirects": False,
        "cookies": _NoCookies(),
        "headers": {"user-agent": options.agent, "accept-encoding": options.encodings},
        "event_hooks": {"request": list(options.hooks)},
    }


def pools(client: Client | AsyncClient) -> Iterator[Any]:
    """Yield the connection pools below a client, to which httpx has no public access.

    Yields nothing for transports without a pool, such as those of a mock.
    """
    for transport in (getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()):
        layer, depth = transport, 0
        while (
            layer is not None and not hasattr(layer, "_pool") and depth < 8
        ):  # instrumentation wraps the original transport
            layer, depth = getattr(layer, "_transport", None), depth + 1
        pool = getattr(layer, "_pool", None)
        if getattr(pool, "_network_backend", None) is not None:
            yield pool


class Head(NamedTuple):
    """What is known about a reply before its body: the headers that describe the body, "" for missing ones; and more.

    Attributes:
        kind: its Content-Type.
        encoding: its Content-Encoding.
        length: its Content-Length.
        transfer: its Transfer-Encoding.
        headers: all headers, as bytes.
        peer: the address of the connection; "" if unknown.
    """

    kind: str
    encoding: str
    length: str
    transfer: str
    headers: list[tuple[bytes, bytes]]
    peer: str

    @classmethod
    def of(cls, response: Response) -> Head:
        """Read a reply's headers, in one pass: httpx searches all headers for each one."""
        found = {b"content-type": b"", b"content-encoding": b"", b"content-length": b"", b"transfer-encoding": b""}
        headers = response.headers.raw
        for name, value in headers:
            if (name := name.lower()) in found:
                found[name] = found[name] + b", " + value if found[name] else value
        kind, encoding, length, transfer = (value.decode("latin-1") for value in found.values())
        return cls(kind, encoding, length, transfer, headers, _peer(response))


def _peer(response: Response) -> str:
    """The address of the connection of a reply, while it is open; "" for a reply of a mock."""
    try:
        return address(response.extensions["network_stream"].get_extra_info("server_addr"))
    except Exception:  # of a mock, or a connection that the server has closed
        return ""


def must_close(client: Client | AsyncClient, head: Head) -> bool:
    """Whether the connection must not be reused, because the next call could take left-over bytes for its reply.

    Bytes that arrive later are noticed when the connection is reused: httpcore then checks whether there is anything to
    read. It does not check bytes that were read already and are in the buffers of h11 or anyio.
    """
    if head.length and head.transfer:
        return True  # two lengths of one body: an intermediary may use the other one (RFC 9112, 6.3)
    for pool in pools(client):
        for connection in pool.connections:
            while connection is not None and not hasattr(
                connection, "_h11_state"
            ):  # a proxy connection contains another one
                connection = getattr(connection, "_connection", None)
            if connection is not None and connection._h11_state.trailing_data[0]:
                return True
            if isinstance(client, AsyncClient) and _is_ahead(connection):
                return True
    return False


def _is_ahead(connection: object) -> bool:
    """Whether the anyio streams below a connection have read more than was requested."""
    layer = getattr(connection, "_network_stream", None)
    while layer is not None:
        if getattr(getattr(layer, "_protocol", None), "read_queue", None):
            return True
        if getattr(getattr(layer, "_read_bio", None), "pending", 0):
            return True
        layer = getattr(layer, "_stream", None) or getattr(layer, "transport_stream", None)
    return False
