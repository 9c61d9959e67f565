"""REST's failures as our errors: the code and the text of what went wrong, and what to try next."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from tfs_client.errors import CallError, ClosedError, ConfigError, StatusCode, TFServingError, call_error
from tfs_client.options import Connection, Deadline
from tfs_client.targets import without_password
from tfs_client.transports.http_client import (
    ConnectError,
    ConnectTimeout,
    InvalidURL,
    LocalProtocolError,
    ProxyError,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
)
from tfs_client.transports.proxies import Route

# What the words of ssl and h11 mean, first match first. {target} is filled in.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"[Hh]ostname mismatch|doesn't match|IP address mismatch",
        "The server's certificate bears another name than {target}: TLS(authority=NAME) says which one is right.",
    ),
    (
        r"certificate has expired|certificate is not yet valid",
        "The server's certificate is out of date: it needs another one, unless the clock here is wrong.",
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
        r"CERTIFICATE_REQUIRED|certificate required|HANDSHAKE_FAILURE|UNKNOWN_CA|BAD_CERTIFICATE",
        "The server asks for a client's certificate that it trusts: TLS(certificate=FILE, key=FILE) gives one.",
    ),
    (
        r"Receive buffer too long",
        "The headers of a reply from {target} are larger than 100 kB, the most that is read.",
    ),
)

_NAME = "The host of {target} has no address here: is its name spelled right, and known where this runs?"
_NOBODY = "Nothing answered at {target}: is the server running, with --rest_api_port (usually 8501)?"
_FOREIGN = (
    "The server at {target} speaks no HTTP/1.1: is this its gRPC port (usually 8500; REST has 8501), or does it want "
    "https://?"
)
_BROKEN = "The connection to {target} broke"
_TRY_AGAIN = "retry=RetryPolicy() tries such calls again"  # for clients that do not
# With TLS 1.3 a server refuses a client's certificate after the handshake, and may be gone before its reason is read.
_IN_THE_CLEAR = " If it always breaks: does the server want https://?"
_SECURE = " If it always breaks: does the server ask for a client's certificate (TLS(certificate=FILE, key=FILE))?"
_PROXY = (
    "A proxy is used: HTTP_PROXY and HTTPS_PROXY in the environment set it, NO_PROXY excepts hosts, and proxy= "
    "overrides them."
)

# What statuses mean that TensorFlow Serving does not send, or not without the JSON of its errors.
_STATUSES: Mapping[int, str] = {
    401: "The server, or a gateway before it, wants a token that it knows: token= sends one with every call.",
    407: _PROXY,
    413: (
        "Something before the server limits the size of requests (nginx: client_max_body_size): raise the limit, "
        "send smaller batches, or use gRPC, whose requests are smaller."
    ),
    429: "Too many calls.",
    431: "The metadata of the call, token included, is larger than the server, or a proxy before it, allows.",
    502: "A proxy answered, but could not reach the server behind it: is that running, and is it the REST port?",
    503: "A proxy answered in place of the server: is that running?",
    504: "A proxy answered, but the server behind it took longer than the proxy waits.",
}
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_REDIRECT = "The server moved, and calls are not sent on: give the address where it is now as the target."
_STRANGER = (
    "This is no answer of TensorFlow Serving: is {target} its REST port (usually 8501), or is a proxy in the way, or a "
    "part of the path missing?"
)


class RestErrors:
    """Makes our errors for a connection, with its target and limits in their hints."""

    def __init__(self, connection: Connection, route: Route) -> None:
        self._url = connection.target.addresses[0]
        self.target = without_password(self._url)
        self._secure = connection.tls is not None
        self._retries = connection.retry is not None
        self._route = route
        self._limits = connection.limits

    def failure(self, error: Exception, deadline: Deadline, method: str, *, unsent: bool) -> TFServingError:
        """For what httpx, or something below it, raised; ``unsent`` says that it was still making a connection."""
        text = _text(error)
        if isinstance(error, TimeoutException):
            return self.late(deadline, method, unsent=unsent or isinstance(error, ConnectTimeout))
        if isinstance(error, (InvalidURL, UnsupportedProtocol)):
            return ConfigError(f"expected http://host:port, got {self.target!r}: {text}")
        if isinstance(error, LocalProtocolError):
            return ConfigError(f"a header that HTTP cannot carry: {text}")
        found = call_error(StatusCode.UNAVAILABLE, text, method, self._hint(error, text))
        # httpcore lets some of ssl's own errors pass; a handshake that failed has not brought the call to the server.
        found.unreached = unsent or isinstance(error, (ConnectError, ProxyError, ssl.SSLError, UnicodeError))
        return found

    def late(self, deadline: Deadline, method: str, *, unsent: bool) -> CallError:
        """For a call whose time is over; ``unsent`` says that there was no connection to send it over."""
        limit = deadline.limit or 0
        details = "Deadline Exceeded"
        hint = f"No answer from {self.target} within {limit:g} s; timeout= sets another limit, None takes it away."
        if unsent:
            details = f"{details}: no connection was made in time"
            hint = (
                f"No connection to {self.target} within {limit:g} s: is the server running, with --rest_api_port "
                "(usually 8501)? A firewall, or an address that is not in use, often gives no answer at all."
            )
        late = call_error(StatusCode.DEADLINE_EXCEEDED, details, method, hint + self._proxy_note())
        late.unreached = unsent
        return late

    def too_large(self, limit: int, method: str) -> CallError:
        """For a reply of more bytes than the client takes."""
        option = "max_reply_bytes" if limit == self._limits.reply else "max_inflated_bytes"
        details = f"the reply has more than {limit} bytes" + (" once inflated" if option != "max_reply_bytes" else "")
        return call_error(StatusCode.RESOURCE_EXHAUSTED, details, method, f"{option}= sets the limit.")

    def closed(self, method: str = "") -> ClosedError:
        """For a call on a client that was closed."""
        during = f" during {method}" if method else ""
        return ClosedError(f"the client of {self.target} was closed{during}")

    def status_hint(self, status: int, details: str, *, stranger: bool) -> str:
        """What to try after a status other than 200; ``stranger`` says that the body was none of TensorFlow Serving."""
        if not stranger:
            if status == HTTPStatus.BAD_REQUEST and "Failed to write JSON value for tensor type" in details:
                return "REST cannot carry this output; gRPC can: give the server's gRPC port as the target."
            return _STATUSES[status] if status == HTTPStatus.UNAUTHORIZED else ""
        hint = _REDIRECT if 300 <= status < 400 else _STATUSES.get(status, _STRANGER)
        later = f" {_TRY_AGAIN}." if status in _LATER and not self._retries else ""
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
            hint = _NOBODY
        elif isinstance(error, RemoteProtocolError) and re.search("illegal|malformed|[Ii]nvalid", text):
            return _FOREIGN.format(target=self.target)  # h11's words for what is no HTTP/1.1
        else:
            hint = _BROKEN + ("." if self._retries else f"; {_TRY_AGAIN}.")
            hint += _SECURE if self._secure else _IN_THE_CLEAR
        return hint.format(target=self.target) + self._proxy_note()

    def _proxy_note(self) -> str:
        return self._route.note


def _text(error: Exception) -> str:
    """What an error says, and where it says little, what the system said below it."""
    text = str(error)
    below = [str(cause) for cause in _causes(error) if isinstance(cause, OSError) and str(cause)]
    if below and below[-1] not in text:
        text = f"{text}: {below[-1]}" if text else below[-1]
    return text or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it; of several attempts the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        attempts = getattr(found, "exceptions", ())  # of an exception group, which Python 3.10 does not know
        found = attempts[0] if attempts else found.__cause__ or found.__context__
