"""HTTP for TensorFlow Serving's REST API: steps become requests, responses become replies or our errors.

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
from urllib.parse import unquote, urlsplit

from tfs_client import __version__
from tfs_client._codec.inflating import TooLarge
from tfs_client._transports.api_methods import method_of
from tfs_client._transports.connection import Connection, checked_compression_to
from tfs_client._transports.connection_log import ConnectionLog
from tfs_client._transports.http_client import (
    AsyncClient,
    Client,
    Head,
    HTTPError,
    HttpOptions,
    InvalidURL,
    Request,
    Response,
    proxy_problem,
)
from tfs_client._transports.proxies import Route, rest_route
from tfs_client._transports.reply import Reply, pairs
from tfs_client._transports.reply_bodies import ACCEPTED, ReplyBody
from tfs_client._transports.rest_errors import RestErrors
from tfs_client._transports.steps import Send
from tfs_client._transports.tls import load_own, no_authorities
from tfs_client._transports.trusted_authorities import rest_context
from tfs_client.errors import (
    CallError,
    ClosedError,
    ConfigError,
    DecodeError,
    ReplyMetadata,
    StatusCode,
    TFServingError,
    UnavailableError,
    call_error,
    unreadable,
)
from tfs_client.options import LONGEST, MAX_INFLATED, TLS, UNSET, Keepalive

Opened = TypeVar("Opened", Client, AsyncClient)

KEEPALIVE_EXPIRY = 30.0  # seconds
LONGEST_ERROR = 1 << 20  # bytes; larger error bodies are not parsed, because TensorFlow Serving does not send them

# TensorFlow Serving maps three codes to 400, two to 409 and three to 500: these are the most common ones. The last rows
# are statuses of proxies.
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

# What httpx raises or lets pass: errors of ssl, lost connections under asyncio, host names that cannot be encoded.
FAILURES = (HTTPError, InvalidURL, ssl.SSLError, ConnectionError, UnicodeError)


def opener(kind: Callable[[HttpOptions], Opened], connection: Connection, route: Route) -> Callable[[], Opened]:
    """Return a function that opens HTTP clients, blocking or asyncio ones, which use a route.

    Raises ConfigError for certificates that cannot be used.
    """
    proxy = route.proxy
    options = HttpOptions(
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
    """The route to the server. Raises ConfigError if ``proxy=`` cannot be used.

    A proxy that the environment names may be meant for other programs, so a problem with it only fails calls.
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
        if hasattr(socket, name):  # Linux; other systems use other names, and their defaults apply
            options.append((socket.IPPROTO_TCP, getattr(socket, name), max(1, int(seconds))))
    return options


def ssl_context(tls: TLS) -> ssl.SSLContext:
    """TLS as an SSLContext. Raises ConfigError for certificates that cannot be used."""
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
    """The progress of a request, by httpcore's trace events (https://www.encode.io/httpcore/extensions/#trace).

    Attributes:
        begun: whether it has reached the network; before that, only the user's functions run.
        connecting: whether a connection is being made for it, so that the server has not seen it.
    """

    def __init__(self) -> None:
        self.begun = False
        self.connecting = False

    @property
    def unsent(self) -> bool:
        """Whether the server cannot have seen the request."""
        return self.connecting or not self.begun

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Record an event."""
        self.begun = True
        if event.startswith("connection.connect_") and event.endswith(".started"):
            self.connecting = True
        elif event.endswith(".send_request_headers.started"):  # unless it only asks a proxy for a tunnel
            self.connecting = self.connecting and info["request"].method == b"CONNECT"

    async def note_aio(self, event: str, info: Mapping[str, Any]) -> None:
        """Record an event."""
        self.note(event, info)


class RestHttp:
    """Makes httpx requests from steps, and bytes or errors from responses.

    Attributes:
        route: the route to the server.
        log: what the log says about the connections.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.route = route_of(connection)
        self._errors = RestErrors(connection, self.route)
        self.log = ConnectionLog(str(connection.target), "rest")
        self._url, self._user = _without_user(connection.target.addresses[0])
        self._extensions = (
            {"sni_hostname": connection.tls.authority} if connection.tls and connection.tls.authority else {}
        )

    def request(
        self, client: Client | AsyncClient, send: Send, trace: Callable[..., Any], *, patience: bool
    ) -> Request:
        """Make a request; with ``patience``, httpx itself ends waits at the deadline.

        ``trace`` is a ``Progress.note``, or a ``Progress.note_aio`` for an AsyncClient.
        """
        if self.route.problem:
            raise ConfigError(
                f"the environment names a proxy that cannot be used ({self.route.variable}): {self.route.problem}; "
                f"add the host to {self.route.exceptions} to bypass the proxy, or pass proxy=None"
            )
        method, _, path = send.address.partition(" ")
        headers = [*self._user, *((key, _header(value)) for key, value in send.metadata)]
        body = send.body
        if body:
            headers.append(("content-type", "application/json"))
            compression = self._connection.compression if send.compression is UNSET else send.compression
            checked_compression_to(compression, self._connection.target)
            if (
                compression and len(body) <= MAX_INFLATED
            ):  # servers inflate at most this, and treat more as an empty body
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
        """The reader of a reply's body. Raises TooLarge and DecodeError for a body that is not accepted."""
        return ReplyBody(head, self._connection.limits)

    def unread(self, error: TooLarge | DecodeError, send: Send) -> TFServingError:
        """Our error for a body that is too large or damaged."""
        method = method_of(send.address)
        if isinstance(error, TooLarge):
            return self._errors.too_large(error.limit, method)
        return DecodeError(f"the reply of {method} cannot be read: {error}")

    def checked(self, body: bytes, send: Send) -> bytes:
        """Check a complete body against the limit. Raises ResourceExhaustedError."""
        limit = self._connection.limits.reply
        if limit is not None and len(body) > limit:
            raise self._errors.too_large(limit, method_of(send.address))
        return body

    def reply(self, response: Response, head: Head, body: bytes, send: Send) -> Reply:
        """Return the reply.

        Raises CallError for a status other than 200 and after the deadline, DecodeError for a page instead of JSON.
        """
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response, head, body, method_of(send.address))
        if "html" in head.kind:
            page = DecodeError(
                f"expected JSON from {self._errors.target}, got a page: {summary(body)}; is this TensorFlow Serving's "
                "REST port (usually 8501), or the page of a proxy?"
            )
            page.foreign = True
            raise page
        if send.deadline.passed():  # before all of it is parsed
            raise self._errors.late(send.deadline, method_of(send.address), unsent=False)
        if self.log.down:
            self.log.up()
        return Reply(body, head.peer, head.headers)

    def _refusal(self, response: Response, head: Head, body: bytes, method: str) -> CallError:
        status = response.status_code
        details = error_text(body)
        from_serving = details is not None  # TensorFlow Serving's own errors are JSON
        if details is None:
            details = f"HTTP {status} {response.reason_phrase}: {summary(body)}".rstrip(": ")
            if "location" in response.headers:
                details += f", moved to {response.headers['location']}"
        hint = self._errors.status_hint(status, details, from_serving=from_serving)
        error = call_error(CODES.get(status, StatusCode.UNKNOWN), details, method, hint)
        error.http_status = status
        error.retry_after = _retry_after(response.headers.get("retry-after", ""))
        error.metadata, error.peer, error.raw = ReplyMetadata(pairs(head.headers)), head.peer, body[:LONGEST_ERROR]
        return error

    def is_ours(self, error: Exception, progress: Progress) -> bool:
        """Whether an error comes from the network or a reply; otherwise it comes from a function of the user."""
        return isinstance(error, FAILURES) or (progress.begun and not _is_of_logging(error))

    def failure(self, error: Exception, send: Send, progress: Progress) -> TFServingError:
        """Our error for one that httpx raised or let pass."""
        if not isinstance(error, (HTTPError, OSError)) and not (
            progress.unsent and isinstance(error, (InvalidURL, UnicodeError))  # of the user, not of a reply
        ):
            return unreadable(f"the reply of {method_of(send.address)}", error)
        made = self._errors.failure(error, send.deadline, method_of(send.address), unsent=progress.unsent)
        if isinstance(made, UnavailableError):
            self.log.lost()
        return made

    def late(self, send: Send, progress: Progress) -> CallError:
        """The error of a call whose deadline passed."""
        return self._errors.late(send.deadline, method_of(send.address), unsent=progress.unsent)

    def closed(self, method: str = "") -> ClosedError:
        """The error of a call on a closed client."""
        return self._errors.closed(method)


def _is_of_logging(error: BaseException) -> bool:
    """Whether an error arose while httpx wrote to the log, as in a filter of the program."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "logging":
            return True
        trace = trace.tb_next
    return False


def _without_user(url: str) -> tuple[str, list[tuple[str, str]]]:
    """A URL without its user and password, and the header that sends them. httpx logs the URLs of its requests."""
    parts = urlsplit(url)
    user, at, netloc = parts.netloc.rpartition("@")
    if not at:
        return url, []
    sent = b64encode(":".join(map(unquote, (user.partition(":")[0], user.partition(":")[2]))).encode()).decode()
    return parts._replace(netloc=netloc).geturl(), [("authorization", f"Basic {sent}")]


_IN_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/=]*$")  # the beginning of what may be a token (RFC 6750, 2.1)


def _header(value: str | bytes) -> str:
    return value if isinstance(value, str) else b64encode(value).decode()


def error_text(body: bytes) -> str | None:
    """Return the text in the JSON of a failed call; None for a body that is not TensorFlow Serving's."""
    if len(body) > LONGEST_ERROR:
        return None
    try:
        text = json.loads(body.decode(errors="replace"))["error"]  # the server does not validate its texts
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def summary(body: bytes) -> str:
    """Return a summary of a page: its title, or its first words."""
    text = body[:4096].decode(errors="replace")
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join((title[1] if title else re.sub(r"<[^>]*>", " ", text)).split())
    # Part of a token could not be recognized, and masked, in what hooks and the log get.
    return words if len(words) <= 100 else _IN_TOKEN.sub("", words[:97]) + "..."


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if re.fullmatch("[0-9]+", value.strip()):
        return min(float(value), LONGEST)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):  # not a date, or outside the clock's range
        return None
