"""Forwards REST calls: the request line, headers and body as they are, and the response likewise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from tfs_client._transports.connection import Connection
from tfs_client._transports.connection_pool import AsyncConnectionPool
from tfs_client._transports.handshakes import closing
from tfs_client._transports.host_names import resolving
from tfs_client._transports.http_client import (
    AsyncClient,
    Head,
    InvalidURL,
    Request,
    aimed_at,
    must_close,
    open_asyncio,
)
from tfs_client._transports.rest_http import FAILURES, KEEPALIVE_EXPIRY, opener, route_of
from tfs_client.errors import ConfigError
from tfs_client.options import MetadataPairs
from tfs_client.server.rest import replies
from tfs_client.server.rest.pages import JSON, error_page
from tfs_client.server.rest.request_bodies import ClientGone, body_of
from tfs_client.server.rest.routes import target_of
from tfs_client.testing.recording_proxy.recorder import CALLER_LEFT

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

RawHeaders = Sequence[tuple[bytes, bytes]]

# Headers of one connection (RFC 9110, 7.6.1), those that the HTTP library sets, and the name of this proxy.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
CONNECT_SECONDS = 10.0
MOST_KEPT = 256 << 20  # bytes of a response that is also kept to be recorded


@dataclass(frozen=True)
class ForwardedExchange:
    """A request over REST and its response.

    Attributes:
        method: the HTTP method.
        target: the path with the query.
        headers, reply_headers: with names in lower case.
        body, reply: the bodies as they were sent, which may be compressed.
        status: the HTTP status.
        seconds: how long it took.
        ended: the time, in seconds since 1970.
    """

    method: str
    target: str
    headers: RawHeaders = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    reply_headers: RawHeaders = field(repr=False)
    reply: bytes = field(repr=False)
    seconds: float
    ended: float


class RestForwarding:
    """The ASGI application that forwards every request.

    Args:
        connection: how to reach the server.
        added: headers that are sent with requests that do not have them.
        limit: the maximum size of a request's body.
        passing: makes a context for each exchange, until it is noted.
        ended: takes each exchange that has ended.
        left_out: takes the reason why an exchange is not recorded.

    Attributes:
        closing: when it is set, responses announce that the connection closes.
        reading: the tasks of requests whose bodies have not been received completely.

    Raises ConfigError if the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        connection: Connection,
        added: MetadataPairs,
        limit: int,
        passing: Callable[[], AbstractContextManager[None]],
        ended: Callable[[ForwardedExchange], None],
        left_out: Callable[[str], None],
    ) -> None:
        self.closing: bool = False
        self.reading: set[asyncio.Task[object]] = set()
        self._url = connection.target.addresses[0]
        self._path = urlsplit(self._url).path.rstrip("/")
        self._shown = str(connection.target)  # without a password
        self._added = [(key.lower().encode("latin-1"), _value(value)) for key, value in added]
        self._limit = limit
        self._passing = passing
        self._ended = ended
        self._left_out = left_out
        route = route_of(connection)
        if route.problem:
            raise ConfigError(f"the environment names a proxy that cannot be used ({route.variable}): {route.problem}")
        opened = opener(open_asyncio, connection, route)
        authority = None if connection.tls is None else connection.tls.authority
        self._extensions = {} if authority is None else {"sni_hostname": authority}

        def connecting() -> AsyncClient:
            client = resolving(opened())
            return client if connection.tls is None else closing(client)

        self._connecting = connecting
        self._pool: AsyncConnectionPool | None = None  # made in the event loop

    async def close(self) -> None:
        """Close the connections to the server, in the event loop that has used them."""
        if self._pool is not None:
            await self._pool.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._passing():
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = target_of(scope["raw_path"], scope["query_string"])
        if not target.startswith("/"):
            # Such as "@host/x", which after the server's address would name another server. No server has such a path.
            self._left_out(outside_the_api(scope["method"]))
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            page = error_page(scope, headers, target)
            assert page is not None
            await page(scope, receive, send)
            return
        try:
            body = await self._read(receive)
        except ClientGone:
            return
        if body is None:
            await self._refuse(send, 413, f"the body has more than {self._limit} bytes")
            return
        scope["state"]["watch"]()
        forwarding = asyncio.ensure_future(self._forward(scope, target, body, send))
        gone = asyncio.ensure_future(scope["state"]["ended"].wait())
        try:
            await asyncio.wait({forwarding, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not forwarding.done():
                self._left_out(CALLER_LEFT)
        finally:
            gone.cancel()
            forwarding.cancel()  # no-op if it is done
        with suppress(asyncio.CancelledError):
            await forwarding

    async def _read(self, receive: Receive) -> bytes | None:
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self.reading.add(task)
        try:
            return await body_of(receive, self._limit)
        finally:
            self.reading.discard(task)

    async def _forward(self, scope: Scope, target: str, body: bytes, send: Send) -> None:
        began = time.monotonic()
        started = False
        pieces: list[bytes] = []
        size = 0
        try:
            request = self._request(scope, target, body)
        except InvalidURL as error:
            self._left_out("no server has such a path")
            await self._refuse(send, 400, f"the recording proxy cannot forward this path: {_text(error)}")
            return
        last = b""  # sent once the exchange is noted, so that a caller who has the response finds it recorded
        if self._pool is None:
            self._pool = AsyncConnectionPool(self._connecting, KEEPALIVE_EXPIRY)
        try:
            async with self._pool.acquire() as client:
                response = await client.send(request, stream=True)
                try:
                    headers = [(name.lower(), value) for name, value in response.headers.raw]
                    started = True
                    await send(self._start(response.status_code, headers))
                    async for piece in response.aiter_raw():
                        if last:
                            await send({"type": "http.response.body", "body": last, "more_body": True})
                        last = piece
                        size += len(piece)
                        if size <= MOST_KEPT:
                            pieces.append(piece)
                finally:
                    await response.aclose()
                if must_close(client, Head.of(response)):
                    await response.extensions["network_stream"].aclose()
        except FAILURES as error:
            self._left_out("the server could not be reached, or did not answer in full")
            if not started:  # a response that has begun is cut off
                await self._refuse(send, 502, f"the recording proxy cannot reach {self._shown}: {_text(error)}")
            return
        if size > MOST_KEPT:
            self._left_out(f"the response has more than {MOST_KEPT >> 20} MiB")
        else:
            reply, seconds = b"".join(pieces), time.monotonic() - began
            self._ended(
                ForwardedExchange(
                    scope["method"],
                    target,
                    scope["headers"],
                    body,
                    response.status_code,
                    headers,
                    reply,
                    seconds,
                    time.time(),
                )
            )
        await send({"type": "http.response.body", "body": last})

    def _request(self, scope: Scope, target: str, body: bytes) -> Request:
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        present = {name for name, _ in headers}
        headers += [pair for pair in self._added if pair[0] not in present]
        path = (self._path + target).encode("latin-1")
        # The target is sent as it came, without the changes that a URL makes. Versions of httpcore before 1.0.4 do not
        # know it, and send the URL's.
        extensions = {**self._extensions, "timeout": {"connect": CONNECT_SECONDS}, "target": path}
        url = aimed_at(self._url, path)
        return Request(scope["method"], url, headers=headers, content=body, extensions=extensions)

    def _start(self, status: int, headers: RawHeaders) -> dict[str, object]:
        kept = [pair for pair in headers if pair[0] not in HOP_BY_HOP]
        if self.closing:
            kept.append((b"connection", b"close"))
        return {"type": "http.response.start", "status": status, "headers": kept}

    async def _refuse(self, send: Send, status: int, text: str) -> None:
        content = replies.error(text)
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(content)).encode())]
        await send(self._start(status, headers))
        await send({"type": "http.response.body", "body": content})


def outside_the_api(method: str) -> str:
    """Return the reason why a request with this HTTP method is not recorded."""
    return f"{method} requests outside the API"


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _value(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
