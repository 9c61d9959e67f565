"""HTTP as TensorFlow Serving's REST API speaks it: requests from steps, replies and failures to bytes and our errors.

Shared by both REST transports. Status map: tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import ssl
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx

from tfs_client._version import __version__
from tfs_client.errors import (
    CallError,
    ClosedError,
    ConfigError,
    DecodeError,
    StatusCode,
    TFServingError,
    call_error,
)
from tfs_client.options import TLS, UNSET, Connection, Deadline, Keepalive
from tfs_client.steps import Send

MAX_INFLATED = 100 << 20  # bytes; a larger request, once inflated, reaches the server's handler as an empty one

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
    502: StatusCode.UNAVAILABLE,
}

METHODS = {":predict": "Predict", ":classify": "Classify", ":regress": "Regress", "/metadata": "GetModelMetadata"}


def method_of(address: str) -> str:
    """The API method behind a path, for error texts."""
    return next((name for end, name in METHODS.items() if address.endswith(end)), "GetModelStatus")


def client_options(connection: Connection, transport: Callable[..., Any]) -> dict[str, Any]:
    """What httpx.Client and httpx.AsyncClient are made with; ``transport`` is the class of their transports.

    Their own limits are off: the call's deadline is the limit.
    """
    of_connections: dict[str, Any] = {
        "verify": False if connection.tls is None else ssl_context(connection.tls),
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30.0),
    }
    if connection.keepalive is not None:  # only a transport of one's own takes these; it knows no proxies
        options = _socket_options(connection.keepalive)
        of_connections = {"transport": transport(**of_connections, socket_options=options)}
    return {
        "timeout": None,
        "follow_redirects": False,
        "headers": {"user-agent": f"tfs-client/{__version__}"},
        "event_hooks": {"request": list(connection.interceptors)},
        **of_connections,
    }


def _socket_options(keepalive: Keepalive) -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, seconds in (("TCP_KEEPIDLE", keepalive.interval), ("TCP_KEEPINTVL", keepalive.timeout)):
        if hasattr(socket, name):  # Linux; other systems have names of their own, and their defaults
            options.append((socket.IPPROTO_TCP, getattr(socket, name), max(1, int(seconds))))
    return options


def ssl_context(tls: TLS) -> ssl.SSLContext:
    """TLS as Python's ssl takes it."""
    ca = tls.pem("ca")
    try:
        if ca is None:
            context: ssl.SSLContext = httpx.create_ssl_context()
        else:
            context = ssl.create_default_context(cadata=ca.decode("ascii", "replace"))
        _load_own(context, tls.pem("certificate"), tls.pem("key"))
    except ssl.SSLError as error:
        raise ConfigError(f"expected certificates and a key that belong together, in PEM form: {error}") from error
    return context


def _load_own(context: ssl.SSLContext, certificate: bytes | None, key: bytes | None) -> None:
    if certificate is None or key is None:
        return
    handle, path = tempfile.mkstemp()  # ssl reads certificates from files only; this one is for the owner's eyes
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


class RestHttp:
    """Makes httpx requests of steps, and bytes or errors of what comes back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._url = connection.target.addresses[0]
        self._extensions = (
            {"sni_hostname": connection.tls.authority} if connection.tls and connection.tls.authority else {}
        )

    def request(self, client: httpx.Client | httpx.AsyncClient, send: Send, *, patience: bool) -> httpx.Request:
        """The request; with ``patience`` httpx itself ends waits that last beyond the deadline."""
        method, _, path = send.address.partition(" ")
        headers = [(key, _header(value)) for key, value in send.metadata]
        body = send.body
        if body:
            headers.append(("content-type", "application/json"))
            compression = self._connection.compression if send.compression is UNSET else send.compression
            if compression == "deflate":
                raise ConfigError("a REST server reads gzip only: expected compression 'gzip' or None, got 'deflate'")
            if compression and len(body) <= MAX_INFLATED:
                headers.append(("content-encoding", "gzip"))
                body = gzip.compress(body, 6)
        return client.build_request(
            method,
            self._url + path,
            content=body or None,
            headers=headers,
            timeout=send.deadline.remaining() if patience else None,
            extensions=self._extensions,
        )

    def reply(self, response: httpx.Response, body: bytes, send: Send) -> bytes:
        """The reply's body. Raises CallError for a status other than 200, DecodeError for a page in place of JSON."""
        if response.status_code != HTTPStatus.OK:
            raise self._refusal(response, body, method_of(send.address))
        if "html" in response.headers.get("content-type", ""):
            raise DecodeError(
                f"expected JSON from {self._url}, got a page: {_said(body)}; is this TensorFlow Serving's REST port "
                "(usually 8501), or the page of a proxy?"
            )
        return body

    def _refusal(self, response: httpx.Response, body: bytes, method: str) -> CallError:
        status = response.status_code
        code = CODES.get(status, StatusCode.UNKNOWN)
        details = _error_text(body)
        hint = ""
        if details is None:  # not TensorFlow Serving's own: its errors are JSON
            details = f"HTTP {status} {response.reason_phrase}: {_said(body)}".rstrip(": ")
            if "location" in response.headers:
                details += f", moved to {response.headers['location']}"
            hint = (
                f"This is no answer of TensorFlow Serving: is {self._url} its REST port (usually 8501), or is a proxy "
                "in the way, or a part of the path missing?"
            )
        elif code is StatusCode.INVALID_ARGUMENT and "Failed to write JSON value for tensor type" in details:
            hint = "REST cannot carry this output; gRPC can: give the server's gRPC port as the target."
        error = call_error(code, details, method, hint)
        error.retry_after = _retry_after(response.headers.get("retry-after", ""))
        return error

    def failure(self, error: Exception, send: Send) -> TFServingError:
        """Our error for one of httpx's."""
        method = method_of(send.address)
        text = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self.late(send.deadline, method)
        if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
            found = call_error(StatusCode.UNAVAILABLE, text, method, self._connect_hint(error, text))
            found.unreached = True
            return found
        if isinstance(error, httpx.DecodingError):
            return DecodeError(f"the reply of {method} has another content encoding than it says: {text}")
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return ConfigError(f"expected http://host:port, got {self._url!r}: {text}")
        if isinstance(error, httpx.LocalProtocolError):
            return ConfigError(f"a header that HTTP cannot carry: {text}")
        hint = f"The connection to {self._url} broke; retry=RetryPolicy() tries such calls again."
        if isinstance(error, httpx.RemoteProtocolError) and not re.search("complet|closed|disconnected", text):
            hint = (
                f"The server at {self._url} speaks no HTTP/1.1: is this its gRPC port (usually 8500; REST has 8501), "
                "or does it want https://?"
            )
        return call_error(StatusCode.UNAVAILABLE, text, method, hint)

    def late(self, deadline: Deadline, method: str) -> CallError:
        """For a call whose time is over."""
        limit = deadline.limit or 0
        return call_error(
            StatusCode.DEADLINE_EXCEEDED,
            "Deadline Exceeded",
            method,
            f"No answer from {self._url} within {limit:g} s; timeout= sets another limit, None takes it away.",
        )

    def closed(self, method: str = "") -> ClosedError:
        """For a call on a client that was closed."""
        during = f" during {method}" if method else ""
        return ClosedError(f"the client of {self._url} was closed{during}")

    def _connect_hint(self, error: Exception, text: str) -> str:
        if isinstance(error, httpx.ProxyError):
            return (
                "A proxy is in the way: HTTP_PROXY and HTTPS_PROXY in the environment set it, NO_PROXY excepts hosts."
            )
        for pattern, hint in _TLS_HINTS:
            if re.search(pattern, text):
                return hint.format(target=self._url)
        return f"Nothing answered at {self._url}: is the server running, with --rest_api_port (usually 8501)?"


_TLS_HINTS = (
    (
        r"[Hh]ostname mismatch|doesn't match|IP address mismatch",
        "The server's certificate bears another name than {target}: TLS(authority=NAME) says which one is right.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "The server's certificate is not from an authority that is trusted here: TLS(ca=FILE) names the one to trust.",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER|record layer|HTTP_REQUEST|UNKNOWN_PROTOCOL",
        "The server at {target} does not speak TLS: write http://, or use its TLS port.",
    ),
    (
        r"CERTIFICATE_REQUIRED|certificate required|HANDSHAKE_FAILURE|UNKNOWN_CA",
        "The server asks for a client's certificate that it trusts: TLS(certificate=FILE, key=FILE) gives one.",
    ),
)


def _header(value: str | bytes) -> str:
    return value if isinstance(value, str) else b64encode(value).decode()


def _error_text(body: bytes) -> str | None:
    try:
        text = json.loads(body)["error"]
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
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
