"""gRPC's failures as our errors: the same code and text, and what to try next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfs_client.error_meanings import Meaning, meaning_of
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
from tfs_client.options import Connection, Deadline
from tfs_client.transports.proxies import grpc_route

PUSHBACK = "grpc-retry-pushback-ms"
NEVER = float("inf")  # seconds, before an attempt that the server does not want
NO_MESSAGE = "The server answered OK without a message"

# How gRPC begins when it has no connection, in the words of 1.60 to 1.85; servers have words of their own.
_UNSENT = re.compile(
    r"failed to connect to all addresses|connections to all backends failing|empty address list"
    r"|errors? resolving |DNS resolution failed|failed to connect to remote host|connection attempt timed out",
    re.IGNORECASE,
)

# What it says when a connection broke under a call.
_BROKEN = re.compile(
    r"^(Socket closed|Connection reset|Broken pipe|Stream removed|Endpoint |Transport closed|"
    r"(recvmsg|sendmsg|Read|Write)\b.*:|.*GOAWAY|(keepalive|ping) )",
    re.IGNORECASE,
)

_TRY_AGAIN = "; retry=RetryPolicy() tries such calls again"  # for clients that do not

# What other texts of gRPC mean, first match first. {target} and the like are filled in.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"certificate has expired|certificate is not yet valid",
        "The server's certificate is out of date: it needs another one, unless the clock here is wrong.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|unable to get local issuer|self.signed certificate",
        "The server's certificate is not from an authority that is trusted here: TLS(ca=FILE) names the one to trust.",
    ),
    (
        r"Hostname Verification|Peer name .* is not in peer certificate",
        "The server's certificate bears another name than {target}: TLS(authority=NAME) says which one is right.",
    ),
    (
        r"WRONG_VERSION_NUMBER|SSL_ERROR_SSL.*(wrong version|packet length|http request)",
        "The server at {target} does not speak TLS: leave tls out, or use its TLS port.",
    ),
    (
        r"CERTIFICATE_REQUIRED|certificate required|BAD_CERTIFICATE|UNKNOWN_CA",
        "The server asks for a client's certificate that it trusts: TLS(certificate=FILE, key=FILE) gives one.",
    ),
    (
        r"[Tt]oo[ _]many[ _]pings|ENHANCE_YOUR_CALM",
        "The server hangs up on clients that ask so often whether it is there: make Keepalive(interval=…) longer, or "
        "let it allow more (grpc.http2.min_ping_interval_without_data_ms).",
    ),
    (
        r"http1\.x server|HTTP/1|Failed parsing HTTP/2",
        "The server at {target} speaks no gRPC, but probably HTTP/1: is this the REST port (usually 8501; gRPC has "
        "8500), or a proxy? For REST write http:// before the target.",
    ),
    (
        r"^errors? resolving |^DNS resolution failed|hostname lookup error",
        "The host of {target} has no address here: is its name spelled right, and known where this runs?",
    ),
    (
        r"HTTP proxy|[Pp]roxy (handshake|returned)",
        "A proxy is used: the environment variables https_proxy and http_proxy set it; to bypass it, add the host to "
        "no_proxy, or pass proxy=None.",
    ),
    (
        r"http2 header with status: (502|503|504)",
        "A proxy at {target} answered, but could not reach the server behind it: is that running, and is it the gRPC "
        "port?",
    ),
    (
        r"http2 header with status: 413",
        "Something at {target} limits the size of requests (nginx: client_max_body_size): raise the limit, or send "
        "smaller batches.",
    ),
    (
        r"http2 header with status: \d+|HTTP status \d+",
        "Something between here and the server answered with an HTTP status instead of gRPC: does a proxy or gateway "
        "at {target} pass gRPC on?",
    ),
)


class GrpcErrors:
    """Makes our errors for a connection, with its target and limits in their hints."""

    def __init__(self, connection: Connection, arguments: Mapping[str, Any]) -> None:
        self._target = connection.target
        self._limits = (
            ("max_reply_bytes=", connection.limits.reply),
            ("'grpc.max_receive_message_length'", connection.channel_options.get("grpc.max_receive_message_length")),
        )
        self._intercepted = bool(connection.interceptors)
        self._tls = connection.tls
        self._retries = connection.retry is not None
        self._arguments = arguments
        self._route = grpc_route(connection)

    def closed(self, method: str = "") -> ClosedError:
        """For a call on a client that was closed, before or, with ``method``, during the call."""
        during = f" during {method}" if method else ""
        return ClosedError(f"the client of {self._target} was closed{during}")

    def check_misuse(self, error: Exception, path: str, *, plain: bool, closed: bool) -> None:
        """Raise our error for a closed channel, for what gRPC cannot send, or for a reply at which gRPC itself fails.

        Our own errors pass, and so do those of interceptors, which are the user's; ``plain``: there are none.
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

    def no_message(self, reply: Any, path: str) -> TFServingError:
        """For a call that ended with OK and without a message, which gRPC for Python reports as the reply None."""
        method = path.rpartition("/")[2]
        if reply is None:
            hint = f"The peer at {self._target} violates the gRPC protocol: is a proxy or gateway there faulty?"
            return call_error(StatusCode.INTERNAL, NO_MESSAGE, method, hint)
        return DecodeError(f"expected the reply of {method} as bytes, got {type(reply).__name__} from an interceptor")

    def nameless(self, path: str, deadline: Deadline) -> CallError:
        """For a call whose time is over before the names of its servers were resolved."""
        error = call_error(
            StatusCode.DEADLINE_EXCEEDED,
            "the names of the servers were not resolved in time",
            path.rpartition("/")[2],
            f"Looking up {self._target} took more than {deadline.limit:g} s: is DNS working?" if deadline.limit else "",
        )
        error.unreached = True
        return error

    def made_of(
        self,
        code: StatusCode,
        details: str | None,
        path: str,
        deadline: Deadline,
        trailing: Iterable[Any] | None,
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
        """For a compressed reply that would become larger than the client takes."""
        details = f"the reply has more than {limit} bytes once inflated"
        option = next((name for name, value in self._limits if value == limit), "max_inflated_bytes=")
        return call_error(StatusCode.RESOURCE_EXHAUSTED, details, method, f"{option} sets the limit.")

    def lost(self, error: TFServingError) -> bool:
        """Whether an error says that there is no connection, or that it broke under the call."""
        return isinstance(error, UnavailableError) and (error.unreached or bool(_BROKEN.search(error.details)))

    def unsent(self, error: CallError, deadline: Deadline) -> None:
        """Put on an error of a call whose time is over that there was no connection to send it over."""
        error.unreached = True
        error.details = f"{error.details}: no connection was made in time"
        within = f" within {deadline.limit:g} s" if deadline.limit is not None else ""
        error.hint = (
            f"No connection to {self._target}{within}: is the server running, and is this its gRPC "
            "port (usually 8500; 8501 is REST)? A firewall, or an address that is not in use, often gives no answer at "
            f"all.{self._proxy_note()}"
        )

    def _hint(self, code: StatusCode, details: str, deadline: Deadline) -> str:
        if code in (StatusCode.UNAVAILABLE, StatusCode.UNKNOWN, StatusCode.UNIMPLEMENTED, StatusCode.DEADLINE_EXCEEDED):
            for pattern, meaning in _MEANINGS:
                if re.search(pattern, details):
                    return meaning.format(target=self._target)
        if code is StatusCode.UNKNOWN and details == "Stream removed":  # 1.60, of a reply whose content type is HTML
            return (
                f"What came from {self._target} was no gRPC: does a proxy or gateway there pass gRPC on, and is the "
                "server behind it running?"
            )
        if code is StatusCode.UNAVAILABLE:
            return self._lost_hint(details) or self._busy_hint(code, details)
        if code is StatusCode.DEADLINE_EXCEEDED:
            return self._late_hint(deadline)
        if code is StatusCode.UNAUTHENTICATED:
            return "The server, or a gateway before it, wants a token that it knows: token= sends one with every call."
        if code is StatusCode.RESOURCE_EXHAUSTED:
            hint = self._metadata_hint() if "metadata size exceeds" in details else self._size_hint(details)
            return hint or self._busy_hint(code, details)
        return ""

    def _busy_hint(self, code: StatusCode, details: str) -> str:
        busy = meaning_of(call_error(code, details)) is Meaning.BUSY
        return f"The server is busy{_TRY_AGAIN}." if busy and not self._retries else ""

    def _metadata_hint(self) -> str:
        return (
            "The metadata of the call, token included, or that of the reply, is larger than the one who gets it allows "
            "(grpc.max_metadata_size, 8 kB unless set)."
        )

    def _lost_hint(self, details: str) -> str:
        """For a connection that was not made, or that broke. A server that is there has words of its own."""
        if _UNSENT.search(details):
            return (
                f"Nothing that speaks gRPC answered at {self._target}: is the server running, "
                f"and is this its gRPC port (usually 8500; 8501 is REST){self._tls_question()}?{self._proxy_note()}"
            )
        if _BROKEN.search(details):
            return f"The connection to {self._target} broke{'' if self._retries else _TRY_AGAIN}."
        return ""

    def _tls_question(self) -> str:
        if self._tls is None:
            return "; does it ask for TLS (tls=True)"
        # TLS 1.3 lets a server refuse a client after the client's handshake is over: then it just hangs up.
        which = "another" if self._tls.certificate is not None else "a"
        return f"; does it ask for {which} client's certificate (TLS(certificate=FILE, key=FILE))"

    def _late_hint(self, deadline: Deadline) -> str:
        if deadline.limit is None:
            return ""
        return (
            f"No answer from {self._target} within {deadline.limit:g} s; timeout= sets another limit, None takes it "
            f"away.{self._proxy_note()}"
        )

    def _proxy_note(self) -> str:
        return self._route.note

    def _size_hint(self, details: str) -> str:
        """Which side refused a message for its size. gRPC says so in words alone, and newer versions name the side."""
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


def _pushback(trailing: Iterable[Any] | None) -> float | None:
    """Seconds after which the server wants the next attempt; None when it does not say.

    Anything but a number of milliseconds within 32 bits forbids another attempt, as a negative one does (gRFC A6).
    """
    for key, value in trailing or ():
        if key == PUSHBACK:
            try:
                milliseconds = int(value)
            except (ValueError, TypeError):
                return NEVER
            return milliseconds / 1000 if 0 <= milliseconds < 1 << 32 else NEVER
    return None
