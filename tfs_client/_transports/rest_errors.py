"""REST's failures as our errors: a code, the text of the cause, and a hint."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.http_client import (
    ConnectError,
    ConnectTimeout,
    InvalidURL,
    LocalProtocolError,
    ProxyError,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
)
from tfs_client._transports.proxies import Route
from tfs_client._transports.retry_hints import TRY_AGAIN
from tfs_client._transports.targets import without_password
from tfs_client._transports.traceback_frames import caught_by_caller
from tfs_client._transports.unserved_hints import unserved_hint
from tfs_client.errors import CallError, ClosedError, ConfigError, StatusCode, TFServingError, call_error

# What the texts of ssl and h11 mean; the first match applies. {target} is filled in.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"[Hh]ostname mismatch|doesn't match|IP address mismatch",
        "The server's certificate is for another name than {target}: set the expected name with TLS(authority=NAME).",
    ),
    (
        r"certificate has expired|certificate is not yet valid",
        "The server's certificate is expired or not yet valid: renew it, or check the clock of this machine.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "The server's certificate is not from a trusted authority: set the authority to trust with TLS(ca=FILE).",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER|record layer|HTTP_REQUEST|UNKNOWN_PROTOCOL",
        "The server at {target} does not speak TLS: use http://, or the server's TLS port.",
    ),
    (
        r"CERTIFICATE_REQUIRED|certificate required|HANDSHAKE_FAILURE|UNKNOWN_CA|BAD_CERTIFICATE",
        "The server requires a client certificate that it trusts: pass one with TLS(certificate=FILE, key=FILE).",
    ),
    (
        r"Receive buffer too long",
        "The headers of a reply from {target} are larger than 100 kB, the limit.",
    ),
)

_NAME = "The host name of {target} cannot be resolved: is it spelled correctly, and known on this machine?"
_NO_ANSWER = "Nothing answered at {target}: is the server running, with --rest_api_port (usually 8501)?"
_NOT_HTTP = (
    "The server at {target} does not speak HTTP/1.1: is this its gRPC port (usually 8500; REST uses 8501), or does it "
    "require https://?"
)
_BROKEN = "The connection to {target} broke"
# With TLS 1.3, a server refuses a client certificate after the handshake, and may close before its reason is read.
_WITHOUT_TLS = " If it always breaks: does the server require https://?"
_WITH_TLS = " If it always breaks: does the server require a client certificate (TLS(certificate=FILE, key=FILE))?"
_PROXY = (
    "A proxy is used: HTTP_PROXY and HTTPS_PROXY in the environment set it, NO_PROXY exempts hosts, and proxy= "
    "overrides them."
)

# Hints for statuses that TensorFlow Serving does not send, or only with its JSON errors.
_STATUSES: Mapping[int, str] = {
    401: "token= sends a bearer token with every call.",
    407: _PROXY,
    413: (
        "A proxy limits the size of requests (nginx: client_max_body_size): raise the limit, send smaller batches, or "
        "use gRPC, whose requests are smaller."
    ),
    429: "Too many calls.",
    431: "The metadata of the call, token included, is larger than the server or a proxy allows.",
    502: "A proxy answered, but could not reach the server behind it: is the server running, and is it the REST port?",
    503: "A proxy answered instead of the server: is the server running?",
    504: "A proxy answered, but the server behind it took longer than the proxy waits.",
}
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_REDIRECT = "The server moved, and the client does not follow redirects: pass the new address as the target."
_NOT_SERVING = (
    "This reply is not from TensorFlow Serving: is {target} its REST port (usually 8501), does a proxy answer instead, "
    "or is part of the path missing?"
)


class RestErrors:
    """Makes our errors for a connection; the hints name its target and limits."""

    def __init__(self, connection: Connection, route: Route) -> None:
        self._url = connection.target.addresses[0]
        self.target = without_password(self._url)
        self._secure = connection.tls is not None
        self._route = route
        self._limits = connection.limits

    def failure(self, error: Exception, deadline: Deadline, method: str, *, unsent: bool) -> TFServingError:
        """The error for what httpx or a layer below it raised; ``unsent``: it was still connecting."""
        text = _text(error)
        if isinstance(error, TimeoutException):
            return self.late(deadline, method, unsent=unsent or isinstance(error, ConnectTimeout))
        if isinstance(error, (InvalidURL, UnsupportedProtocol)):
            return ConfigError(f"expected http://host:port, got {self.target!r}: {text}")
        if isinstance(error, LocalProtocolError):
            return ConfigError(f"expected metadata that HTTP headers can carry: {text}")
        found = call_error(StatusCode.UNAVAILABLE, text, method, self._hint(error, text))
        # httpcore lets some errors of ssl pass; after a failed handshake the server has not received the call.
        found.unreached = unsent or isinstance(error, (ConnectError, ProxyError, ssl.SSLError, UnicodeError))
        return found

    def late(self, deadline: Deadline, method: str, *, unsent: bool) -> CallError:
        """The error of a call whose deadline passed; ``unsent``: there was no connection to send it over."""
        limit = deadline.limit or 0
        details = "Deadline Exceeded"
        hint = f"No answer from {self.target} within {limit:g} s; timeout= sets another limit, None removes it."
        if unsent:
            details = f"{details}: no connection was made in time"
            hint = (
                f"No connection to {self.target} within {limit:g} s: is the server running, with --rest_api_port "
                "(usually 8501)? A firewall or an unused address often does not answer at all."
            )
        late = call_error(StatusCode.DEADLINE_EXCEEDED, details, method, hint + self._proxy_note())
        late.unreached = unsent
        return late

    def too_large(self, limit: int, method: str) -> CallError:
        """The error for a reply larger than the client accepts."""
        option = "max_reply_bytes" if limit == self._limits.reply else "max_inflated_bytes"
        details = f"the reply has more than {limit} bytes" + (" once inflated" if option != "max_reply_bytes" else "")
        return call_error(StatusCode.RESOURCE_EXHAUSTED, details, method, f"{option}= sets the limit.")

    def closed(self, method: str = "") -> ClosedError:
        """The error of a call on a closed client."""
        during = f" during {method}" if method else ""
        error = ClosedError(f"the client of {self.target} was closed{during}")
        error.sent = bool(method)
        return error

    def status_hint(self, status: int, details: str, *, from_serving: bool) -> str:
        """The hint for a status other than 200; ``from_serving``: the body is an error of TensorFlow Serving."""
        if from_serving:
            if status == HTTPStatus.BAD_REQUEST and "Failed to write JSON value for tensor type" in details:
                return "REST cannot carry this output, but gRPC can: pass the server's gRPC port as the target."
            return _STATUSES[status] if status == HTTPStatus.UNAUTHORIZED else unserved_hint(details, self.target)
        hint = _REDIRECT if 300 <= status < 400 else _STATUSES.get(status, _NOT_SERVING)
        later = f" {TRY_AGAIN}." if status in _LATER else ""
        return hint.format(target=self.target) + later + ("" if status == 407 else self._proxy_note())

    def _hint(self, error: Exception, text: str) -> str:
        if isinstance(error, ProxyError):
            return _PROXY
        for pattern, meaning in _MEANINGS:
            if re.search(pattern, text):
                return meaning.format(target=self.target)
        if isinstance(error, UnicodeError) or any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
            hint = _NAME
        elif isinstance(error, ConnectError):
            hint = _NO_ANSWER
        elif isinstance(error, RemoteProtocolError) and re.search("illegal|malformed|[Ii]nvalid", text):
            return _NOT_HTTP.format(target=self.target)  # h11's texts for replies that are not HTTP/1.1
        else:
            hint = f"{_BROKEN}; {TRY_AGAIN}." + (_WITH_TLS if self._secure else _WITHOUT_TLS)
        return hint.format(target=self.target) + self._proxy_note()

    def _proxy_note(self) -> str:
        return self._route.note


def _text(error: Exception) -> str:
    """The text of an error, with the system's text where that adds something."""
    text = str(error)
    below = [str(cause) for cause in _causes(error) if isinstance(cause, OSError) and str(cause)]
    if below and below[-1] not in text:
        text = f"{text}: {below[-1]}" if text else below[-1]
    return text or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes; of several attempts the first. Not what the caller handles during its call."""
    found: BaseException | None = error
    while found is not None and not caught_by_caller(found):
        yield found
        attempts = getattr(found, "exceptions", ())  # of an exception group, which Python 3.10 does not know
        found = attempts[0] if attempts else found.__cause__ or found.__context__
