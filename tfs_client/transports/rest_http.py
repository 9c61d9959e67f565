"""HTTP as TensorFlow Serving's REST API speaks it: requests from steps, replies and failures to bytes and our errors.

Shared by both REST transports. Status map: tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

from tfs_client._version import __version__
from tfs_client.errors import (
    CallError,
    ClosedError,
    ConfigError,
    DecodeError,
    StatusCode,
    TFServingError,
    call_error,
    unreadable,
)
from tfs_client.inflating import TooLarge
from tfs_client.options import LONGEST, MAX_INFLATED, TLS, UNSET, Connection, Keepalive
from tfs_client.steps import Send
from tfs_client.transports.http_client import (
    AsyncClient,
    Client,
    ClientOptions,
    Head,
    HTTPError,
    InvalidURL,
    Request,
    Response,
    proxy_problem,
)
from tfs_client.transports.proxies import Route, rest_route
from tfs_client.transports.reply_bodies import ACCEPTED, ReplyBody
from tfs_client.transports.rest_errors import RestErrors
from tfs_client.transports.tls import load_own, no_authorities
from tfs_client.transports.trust import rest_context

Opened = TypeVar("Opened", Client, AsyncClient)

KEEPALIVE_EXPIRY = 30.0  # seconds
LONGEST_ERROR = 1 << 20  # bytes of an error that are parsed; larger pages are none of TensorFlow Serving's

# Three codes come as 400, two as 409, three as 500: of each the one that clients mostly meet. The last lines are what
# proxies say.
CODES: Mapping[int, StatusCode] = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.ABORTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    499: StatusCode.CANCELLED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
    405: StatusCode.UNIMPLEMENTED,
    407: StatusCode.UNAUTHENTICATED,
    408: StatusCode.DEADLINE_EXCEEDED,
    413: StatusCode.RESOURCE_EXHAUSTED,
    431: StatusCode.RESOURCE_EXHAUSTED,
    502: StatusCode.UNAVAILABLE,
}

METHODS = {":predict": "Predict", ":classify": "Classify", ":regress": "Regress", "/metadata": "GetModelMetadata"}


def method_of(address: str) -> str:
    """The API method behind a path, for error texts."""
    return next((name for end, name in METHODS.items() if address.endswith(end)), "GetModelStatus")


# What httpx raises, and what it lets pass: errors of ssl, lost connections under asyncio, names that are no names.
FAILURES = (HTTPError, InvalidURL, ssl.SSLError, ConnectionError, UnicodeError)


def opener(kind: Callable[[ClientOptions], Opened], connection: Connection, route: Route) -> Callable[[], Opened]:
    """What opens HTTP clients, blocking ones or those for asyncio, that go by a route.

    Raises ConfigError for certificates that cannot be used.
    """
    proxy = route.proxy
    options = ClientOptions(
        context=None if connection.tls is None else ssl_context(connection.tls),
        proxy="" if proxy is None else proxy.with_password,
        proxy_context=rest_context(shared=True) if proxy is not None and proxy.scheme == "https" else None,
        socket_options=() if connection.keepalive is None else _socket_options(connection.keepalive),
        expiry=KEEPALIVE_EXPIRY,
        hooks=connection.interceptors,
        agent=f"tfs-client/{__version__}",
        encodings=ACCEPTED,
    )
    return lambda: kind(options)


def route_of(connection: Connection) -> Route:
    """The way to the server. Raises ConfigError for a proxy of the user's that cannot be used.

    What the environment names may be meant for other programs, so only calls fail for it.
    """
    route = rest_route(connection)
    problem = proxy_problem(route.proxy.with_password) if route.proxy is not None else ""
    if route.proxy is not None and connection.tls is not None and connection.tls.authority is not None:
        problem = "httpx checks a certificate behind a proxy by the host alone, not by TLS(authority=...)"
    if not problem:
        return route
    if not route.variable:
        raise ConfigError(f"proxy= cannot be used: {problem}")
    return replace(route, proxy=None, problem=problem)


def _socket_options(keepalive: Keepalive) -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, seconds in (("TCP_KEEPIDLE", keepalive.interval), ("TCP_KEEPINTVL", keepalive.timeout)):
        if hasattr(socket, name):  # Linux; other systems have names of their own, and their defaults
            options.append((socket.IPPROTO_TCP, getattr(socket, name), max(1, int(seconds))))
    return options


def ssl_context(tls: TLS) -> ssl.SSLContext:
    """TLS as Python's ssl takes it. Raises ConfigError for certificates that cannot be used."""
    ca = tls.pem("ca")
    if ca is None:
        context = rest_context(shared=tls.certificate is None)
    else:
        try:
            context = ssl.create_default_context(cadata=ca.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as error:
            raise no_authorities(error) from error
    load_own(context, tls)
    return context


class Progress:
    """How far a request has come, by httpcore's trace events (https://www.encode.io/httpcore/extensions/#trace).

    Attributes:
        begun: something was done about it on the network; before that only the user's functions run.
        connecting: a connection is being made for it, so the server has not seen it.
    """

    def __init__(self) -> None:
        self.begun = False
        self.connecting = False

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of an event."""
        self.begun = True
        if event.startswith("connection.connect_") and event.endswith(".started"):
            self.connecting = True
        elif event.endswith(".send_request_headers.started"):  # unless it only asks a proxy for a connection
            self.connecting = self.connecting and info["request"].method == b"CONNECT"

    async def note_aio(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of an event."""
        self.note(event, info)


class RestHttp:
    """Makes httpx requests of steps, and bytes or errors of what comes back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.route = route_of(connection)
        self._errors = RestErrors(connection, self.route)
        self._url = connection.target.addresses[0]
        self._extensions = (
            {"sni_hostname": connection.tls.authority} if connection.tls and connection.tls.authority else {}
        )

    def request(
        self, client: Client | AsyncClient, send: Send, trace: Callable[..., Any], *, patience: bool
    ) -> Request:
        """The request; with ``patience`` httpx itself ends waits that last beyond the deadline.

        ``trace`` is a ``Progress.note``, or for an AsyncClient a ``Progress.note_aio``.
        """
        if self.route.problem:
            raise ConfigError(
                f"the environment names a proxy that cannot be used ({self.route.variable}): {self.route.problem}; "
                f"add the host to {self.route.exceptions} to bypass the proxy, or pass proxy=None"
            )
        method, _, path = send.address.partition(" ")
        headers = [(key, _header(value)) for key, value in send.metadata]
        body = send.body
        if body:
            headers.append(("content-type", "application/json"))
            compression = self._connection.compression if send.compression is UNSET else send.compression
            if compression == "deflate":
                raise ConfigError("a REST server reads gzip only: expected compression 'gzip' or None, got 'deflate'")
            if compression and len(body) <= MAX_INFLATED:  # servers inflate no more, and take it for an empty one
                headers.append(("content-encoding", "gzip"))
                body = gzip.compress(body, 6)
        return client.build_request(
            method,
            self._url + path,
            content=body or None,
            headers=headers,
            timeout=send.deadline.remaining() if patience else None,
            extensions={**self._extensions, "trace": trace},
        )

    def body(self, head: Head) -> ReplyBody:
        """What takes the body of a reply. Raises TooLarge and DecodeError for one that is not read."""
        return ReplyBody(head, self._connection.limits)

    def unread(self, error: TooLarge | DecodeError, send: Send) -> TFServingError:
        """Our error for a body that is too large, or damaged."""
        method = method_of(send.address)
        if isinstance(error, TooLarge):
            return self._errors.too_large(error.limit, method)
        return DecodeError(f"the reply of {method} cannot be read: {error}")

    def checked(self, body: bytes, send: Send) -> bytes:
        """A body that is there as a whole, if it is within the limit. Raises ResourceExhaustedError."""
        limit = self._connection.limits.reply
        if limit is not None and len(body) > limit:
            raise self._errors.too_large(limit, method_of(send.address))
        return body

    def reply(self, response: Response, head: Head, body: bytes, send: Send) -> bytes:
        """The reply's body. Raises CallError for a status other than 200 and when the time is over, DecodeError for a
        page in place of JSON.
        """
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response, body, method_of(send.address))
        if "html" in head.kind:
            page = DecodeError(
                f"expected JSON from {self._errors.target}, got a page: {_said(body)}; is this TensorFlow Serving's "
                "REST port (usually 8501), or the page of a proxy?"
            )
            page.foreign = True
            raise page
        if send.deadline.passed():  # before all of it is parsed
            raise self._errors.late(send.deadline, method_of(send.address), unsent=False)
        return body

    def _refusal(self, response: Response, body: bytes, method: str) -> CallError:
        status = response.status_code
        details = _error_text(body)
        stranger = details is None  # TensorFlow Serving's own errors are JSON
        if details is None:
            details = f"HTTP {status} {response.reason_phrase}: {_said(body)}".rstrip(": ")
            if "location" in response.headers:
                details += f", moved to {response.headers['location']}"
        hint = self._errors.status_hint(status, details, stranger=stranger)
        error = call_error(CODES.get(status, StatusCode.UNKNOWN), details, method, hint)
        error.http_status = status
        error.retry_after = _retry_after(response.headers.get("retry-after", ""))
        return error

    def is_ours(self, error: Exception, progress: Progress) -> bool:
        """Whether an error is of the network, or of what came from it; else it is of a function of the user's."""
        return progress.begun or isinstance(error, FAILURES)

    def failure(self, error: Exception, send: Send, progress: Progress) -> TFServingError:
        """Our error for one of httpx's, or for one that httpx let pass."""
        early = progress.connecting or not progress.begun  # so names and URLs are the user's, and not the reply's
        if not isinstance(error, (HTTPError, OSError)) and not (
            early and isinstance(error, (InvalidURL, UnicodeError))
        ):
            return unreadable(f"the reply of {method_of(send.address)}", error)
        return self._errors.failure(error, send.deadline, method_of(send.address), unsent=progress.connecting)

    def late(self, send: Send, progress: Progress) -> CallError:
        """For a call whose time is over."""
        return self._errors.late(send.deadline, method_of(send.address), unsent=progress.connecting)

    def closed(self, method: str = "") -> ClosedError:
        """For a call on a client that was closed."""
        return self._errors.closed(method)


def _header(value: str | bytes) -> str:
    return value if isinstance(value, str) else b64encode(value).decode()


def _error_text(body: bytes) -> str | None:
    if len(body) > LONGEST_ERROR:
        return None
    try:
        text = json.loads(body.decode(errors="replace"))["error"]  # the server does not check its texts
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def _said(body: bytes) -> str:
    """The gist of a page: its title, or its first words."""
    text = body[:4096].decode(errors="replace")
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join((title[1] if title else re.sub(r"<[^>]*>", " ", text)).split())
    return words if len(words) <= 100 else words[:97] + "..."


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if re.fullmatch("[0-9]+", value.strip()):
        return min(float(value), LONGEST)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):  # no date, or none that a clock can show
        return None
