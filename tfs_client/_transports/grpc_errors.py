"""gRPC's failures as our errors: the same code and text, and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client._transports.proxies import grpc_route
from tfs_client._transports.retry_hints import TRY_AGAIN
from tfs_client._transports.unserved_hints import unserved_hint
from tfs_client.errors import (
    CallError,
    ClosedError,
    DecodeError,
    StatusCode,
    TFServingError,
    UnavailableError,
    call_error,
    unreadable,
)

PUSHBACK = "grpc-retry-pushback-ms"
NEVER = float("inf")  # seconds; the server forbids another attempt
NO_MESSAGE = "The server answered OK without a message"

# How gRPC's texts begin when it has no connection, in versions 1.60 to 1.85; servers use other texts.
_UNSENT = re.compile(
    r"failed to connect to all addresses|connections to all backends failing|empty address list"
    r"|errors? resolving |DNS resolution failed|failed to connect to remote host|connection attempt timed out",
    re.IGNORECASE,
)

# Its texts for a connection that broke during a call.
_BROKEN = re.compile(
    r"^(Socket closed|Connection reset|Broken pipe|Stream removed|Endpoint |Transport closed|"
    r"(recvmsg|sendmsg|Read|Write)\b.*:|.*GOAWAY|(keepalive|ping) )",
    re.IGNORECASE,
)

# What other texts of gRPC mean; the first match applies. {target} and {without_tls} are filled in.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"certificate has expired|certificate is not yet valid",
        "The server's certificate is expired or not yet valid: renew it, or check the clock of this machine.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|unable to get local issuer|self.signed certificate",
        "The server's certificate is not from a trusted authority: set the authority to trust with TLS(ca=FILE).",
    ),
    (
        r"Hostname Verification|Peer name .* is not in peer certificate",
        "The server's certificate is for another name than {target}: set the expected name with TLS(authority=NAME).",
    ),
    (
        r"WRONG_VERSION_NUMBER|SSL_ERROR_SSL.*(wrong version|packet length|http request)",
        "The server at {target} does not speak TLS: {without_tls}, or use the server's TLS port.",
    ),
    (
        r"CERTIFICATE_REQUIRED|certificate required|BAD_CERTIFICATE|UNKNOWN_CA",
        "The server requires a client certificate that it trusts: pass one with TLS(certificate=FILE, key=FILE).",
    ),
    (
        r"[Tt]oo[ _]many[ _]pings|ENHANCE_YOUR_CALM",
        "The server disconnects clients that send keepalive pings so often: increase Keepalive(interval=…), or let the "
        "server allow more (grpc.http2.min_ping_interval_without_data_ms).",
    ),
    (
        r"http1\.x server|HTTP/1|Failed parsing HTTP/2",
        "The server at {target} does not speak gRPC, but probably HTTP/1: is this the REST port (usually 8501; gRPC "
        "uses 8500), or a proxy? For REST, write http:// before the target.",
    ),
    (
        r"^errors? resolving |^DNS resolution failed|hostname lookup error",
        "The host name of {target} cannot be resolved: is it spelled correctly, and known on this machine?",
    ),
    (
        r"HTTP proxy|[Pp]roxy (handshake|returned)",
        "A proxy is used: the environment variables https_proxy and http_proxy set it; to bypass it, add the host to "
        "no_proxy, or pass proxy=None.",
    ),
    (
        r"http2 header with status: (502|503|504)",
        "A proxy at {target} answered, but could not reach the server behind it: is the server running, and is this "
        "its gRPC port?",
    ),
    (
        r"http2 header with status: 413",
        "A proxy at {target} limits the size of requests (nginx: client_max_body_size): raise the limit, or send "
        "smaller batches.",
    ),
    (
        r"http2 header with status: \d+|HTTP status \d+",
        "A proxy or gateway at {target} answered with an HTTP status instead of gRPC: does it forward gRPC?",
    ),
)


class GrpcErrors:
    """Makes our errors for a connection; the hints name its target and limits."""

    def __init__(self, connection: Connection, arguments: Mapping[str, Any]) -> None:
        self._target = connection.target
        self._limits = (
            ("max_reply_bytes=", connection.limits.reply),
            ("'grpc.max_receive_message_length'", connection.channel_options.get("grpc.max_receive_message_length")),
        )
        self._intercepted = bool(connection.interceptors)
        self._tls = connection.tls
        self._without_tls = "write grpc://" if connection.target.scheme else "leave tls out"
        self._arguments = arguments
        self._route = grpc_route(connection)

    def closed(self, method: str = "") -> ClosedError:
        """The error of a call on a client that was closed before the call or, with ``method``, during it."""
        during = f" during {method}" if method else ""
        error = ClosedError(f"the client of {self._target} was closed{during}")
        error.sent = bool(method)
        return error

    def check_misuse(self, error: Exception, path: str, *, plain: bool, closed: bool) -> None:
        """Raise our error for a closed channel, a request that gRPC cannot send, or a reply that gRPC cannot read.

        Our own errors pass, and so do those of the user's interceptors; ``plain``: the channel is gRPC's own.
        """
        if isinstance(error, TFServingError):
            return
        if closed:
            raise self.closed() from error
        if self._intercepted:
            return
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            raise TFServingError(str(error)) from error
        if plain:
            raise unreadable(f"the reply of {path.rpartition('/')[2]}", error) from error

    def no_message(self, reply: object, path: str) -> TFServingError:
        """The error of a call that ended with OK but without a message, which gRPC for Python reports as None."""
        method = path.rpartition("/")[2]
        if reply is None:
            hint = f"The peer at {self._target} violates the gRPC protocol: is a proxy or gateway there faulty?"
            return call_error(StatusCode.INTERNAL, NO_MESSAGE, method, hint)
        return DecodeError(f"expected the reply of {method} as bytes, got {type(reply).__name__} from an interceptor")

    def unresolved(self, path: str, deadline: Deadline) -> CallError:
        """The error of a call whose deadline passed before the names of its servers were resolved."""
        error = call_error(
            StatusCode.DEADLINE_EXCEEDED,
            "the names of the servers were not resolved in time",
            path.rpartition("/")[2],
            f"Resolving {self._target} took more than {deadline.limit:g} s: is DNS working?" if deadline.limit else "",
        )
        error.unreached = True
        return error

    def made_of(
        self,
        code: StatusCode,
        details: str | None,
        path: str,
        deadline: Deadline,
        trailing: Iterable[tuple[str, str | bytes]] | None,
        *,
        closed: bool,
    ) -> TFServingError:
        """The error of a call that ended with a code other than OK."""
        method = path.rpartition("/")[2]
        if code is StatusCode.CANCELLED and closed:
            return self.closed(method)
        error = call_error(code, details or "", method, self._hint(code, details or "", deadline))
        error.unreached = code is StatusCode.UNAVAILABLE and bool(_UNSENT.search(error.details))
        pushback = _pushback(trailing)
        error.final = pushback == NEVER
        error.retry_after = None if error.final else pushback
        return error

    def too_large(self, limit: int, method: str) -> CallError:
        """The error for a compressed reply that inflates to more than the client accepts."""
        details = f"the reply has more than {limit} bytes once inflated"
        option = next((name for name, value in self._limits if value == limit), "max_inflated_bytes=")
        return call_error(StatusCode.RESOURCE_EXHAUSTED, details, method, f"{option} sets the limit.")

    def lost(self, error: TFServingError) -> bool:
        """Whether an error means that there was no connection, or that it broke during the call."""
        return isinstance(error, UnavailableError) and (error.unreached or bool(_BROKEN.search(error.details)))

    def unsent(self, error: CallError, deadline: Deadline) -> None:
        """Complete the error of a call whose deadline passed without a connection to send it over."""
        error.unreached = True
        error.details = f"{error.details}: no connection was made in time"
        within = f" within {deadline.limit:g} s" if deadline.limit is not None else ""
        error.hint = (
            f"No connection to {self._target}{within}: is the server running, and is this its gRPC "
            "port (usually 8500; 8501 is REST)? A firewall or an unused address often does not answer at all."
            f"{self._proxy_note()}"
        )

    def _hint(self, code: StatusCode, details: str, deadline: Deadline) -> str:
        if code in (StatusCode.UNAVAILABLE, StatusCode.UNKNOWN, StatusCode.UNIMPLEMENTED, StatusCode.DEADLINE_EXCEEDED):
            for pattern, meaning in _MEANINGS:
                if re.search(pattern, details):
                    return meaning.format(target=self._target, without_tls=self._without_tls)
        if (
            code is StatusCode.UNKNOWN and details == "Stream removed"
        ):  # of gRPC 1.60, for a reply with the content type of HTML
            return (
                f"The reply from {self._target} was not gRPC: does a proxy or gateway there forward gRPC, and is the "
                "server behind it running?"
            )
        if code is StatusCode.UNAVAILABLE:
            return self._lost_hint(details) or self._busy_hint(code, details)
        if code is StatusCode.DEADLINE_EXCEEDED:
            return self._late_hint(deadline)
        if code in (StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT):
            return unserved_hint(details, str(self._target))
        if code is StatusCode.UNAUTHENTICATED:
            return "token= sends a bearer token with every call."
        if code is StatusCode.RESOURCE_EXHAUSTED:
            hint = self._metadata_hint() if "metadata size exceeds" in details else self._size_hint(details)
            return hint or self._busy_hint(code, details)
        return ""

    def _busy_hint(self, code: StatusCode, details: str) -> str:
        busy = meaning_of(call_error(code, details)) is Meaning.BUSY
        return f"The server is busy; {TRY_AGAIN}." if busy else ""

    def _metadata_hint(self) -> str:
        return (
            "The metadata of the call, token included, or that of the reply, is larger than its receiver allows "
            "(grpc.max_metadata_size, 8 kB unless set)."
        )

    def _lost_hint(self, details: str) -> str:
        """The hint for a connection that was not made or broke; "" for texts of a server that was reached."""
        if _UNSENT.search(details):
            return (
                f"Nothing that speaks gRPC answered at {self._target}: is the server running, "
                f"and is this its gRPC port (usually 8500; 8501 is REST){self._tls_question()}?{self._proxy_note()}"
            )
        if _BROKEN.search(details):
            return f"The connection to {self._target} broke; {TRY_AGAIN}."
        return ""

    def _tls_question(self) -> str:
        if self._tls is None:
            return f"; does it require TLS ({'grpcs://' if self._target.scheme else 'tls=True'})"
        # With TLS 1.3, a server may refuse a client after the client's handshake is over: then it just disconnects.
        which = "another" if self._tls.certificate is not None else "a"
        return f"; does it require {which} client certificate (TLS(certificate=FILE, key=FILE))"

    def _late_hint(self, deadline: Deadline) -> str:
        if deadline.limit is None:
            return ""
        return (
            f"No answer from {self._target} within {deadline.limit:g} s; timeout= sets another limit, None removes "
            f"it.{self._proxy_note()}"
        )

    def _proxy_note(self) -> str:
        return self._route.note

    def _size_hint(self, details: str) -> str:
        """The hint for a message that one side refused for its size. Newer versions of gRPC name the side."""
        found = re.search(
            r"(?:(CLIENT|SERVER): )?(Sent|Received) message larger than max \((\d{1,18}) vs\. (\d{1,18})\)", details
        )
        if found is None:
            return ""
        side, verb, _, limit = found.groups()
        option = f"grpc.max_{'send' if verb == 'Sent' else 'receive'}_message_length"
        ours = self._arguments[option] == int(limit)
        if (side == "CLIENT") if side else ours:
            what = "request" if verb == "Sent" else "reply"
            if what == "reply" and self._limits[0][1] is not None:
                return "The client refused the reply: raise max_reply_bytes=, or leave it out for no limit."
            return f"The client refused the {what}: raise {option!r} in channel_options, or leave it out for no limit."
        what = "reply" if verb == "Sent" else "request"
        return (
            f"The server refused the {what}: start it with --grpc_channel_arguments={option}=-1, "
            "or send smaller batches."
        )


def _pushback(trailing: Iterable[tuple[str, str | bytes]] | None) -> float | None:
    """Seconds that the server wants to pass before the next attempt; None if it does not say.

    A negative number of milliseconds forbids another attempt, as does anything that is not a 32-bit number (gRFC A6).
    """
    for key, value in trailing or ():
        if key == PUSHBACK:
            try:
                milliseconds = int(value)
            except (ValueError, TypeError):
                return NEVER
            return milliseconds / 1000 if 0 <= milliseconds < 1 << 32 else NEVER
    return None
