"""Error meanings: the cause of a failed request, from its status and text.

One table for all code that decides what to do next: batch calls, the retries of single calls, and ``tfs-predict``.
A *busy* server accepts the same request later; one that finds it *too large* accepts fewer rows. Both answer
RESOURCE_EXHAUSTED, and only the text distinguishes them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tfs_client.errors import (
    CallError,
    DecodeError,
    EncodeError,
    SignatureError,
    StatusCode,
)

LONGEST_SEARCHED = 8192  # characters of an error text; over REST they have any length


class Meaning(enum.Enum):
    """The meaning of an error for its request.

    TOO_LARGE: the request, its reply, or the memory that it takes is over a limit; fewer rows can succeed.
    BUSY: the server is overloaded; the same request can succeed later.
    GONE: the server is unreachable, or the connection broke; another server, or this one later, can answer.
    INPUTS: the server or the codec rejects the content of the request; sent again, it fails again.
    OTHER: anything else: the caller, the model's name, the deadline, the client itself.
    """

    TOO_LARGE = "too large"
    BUSY = "busy"
    GONE = "gone"
    INPUTS = "inputs"
    OTHER = "other"


def _never_fits(match: re.Match[str]) -> bool:
    """Whether the task is too large even for an empty batching queue."""
    return int(match["rows"]) > _queue_capacity(match)


def _queue_capacity(match: re.Match[str]) -> int:
    """The number of rows that fit in an empty batching queue."""
    return int(match["batches"]) * int(match["size"])


def _limit(match: re.Match[str]) -> int:
    return int(match["limit"])


@dataclass(frozen=True)
class Row:
    """A row of the table. An error matches if it meets all conditions.

    Attributes:
        meaning: the meaning of such an error.
        source: what sends it, and where that is documented.
        codes: its status codes; empty for any.
        http: its HTTP statuses over REST; empty for any, and for gRPC.
        pattern: a pattern that its text contains; "" for any text.
        asks_to_wait: whether it says when to retry, by gRPC's push-back or HTTP's Retry-After.
        holds_if: a further condition on the match of the pattern.
        limit: the number of rows that succeed in one request, from the match; None if the text does not say.
    """

    meaning: Meaning
    source: str
    codes: frozenset[StatusCode] = frozenset()
    http: frozenset[int] = frozenset()
    pattern: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    asks_to_wait: bool = False
    holds_if: Callable[[re.Match[str]], bool] | None = None
    limit: Callable[[re.Match[str]], int] | None = None

    def match(self, error: CallError) -> re.Match[str] | None:
        """The match of the pattern, if the error meets all conditions."""
        if self.codes and error.code not in self.codes:
            return None
        if self.http and error.http_status not in self.http:
            return None
        if self.asks_to_wait and error.retry_after is None:
            return None
        found = self.pattern.search(error.details, 0, LONGEST_SEARCHED)
        return None if found is None or (self.holds_if is not None and not self.holds_if(found)) else found


def _row(
    meaning: Meaning,
    codes: StatusCode | tuple[StatusCode, ...],
    text: str,
    source: str,
    *,
    http: tuple[int, ...] = (),
    asks_to_wait: bool = False,
    holds_if: Callable[[re.Match[str]], bool] | None = None,
    limit: Callable[[re.Match[str]], int] | None = None,
) -> Row:
    which = frozenset((codes,) if isinstance(codes, StatusCode) else codes)
    pattern = re.compile(text, re.IGNORECASE)
    return Row(meaning, source, which, frozenset(http), pattern, asks_to_wait, holds_if, limit)


_ANY: tuple[StatusCode, ...] = ()
_S = StatusCode
_SCHEDULER = "tensorflow/core/kernels/batching_util/shared_batch_scheduler.h"

# The first match applies: texts about sizes precede requests to wait, which precede rows without a text.
TABLE: tuple[Row, ...] = (
    # --- too large ---
    _row(
        Meaning.TOO_LARGE,
        _S.INVALID_ARGUMENT,
        r"Task size \d+ (?:is|was) larger than maximum input batch size (?P<limit>[1-9]\d{0,17})\b",
        f"the batching layer: {_SCHEDULER}",
        limit=_limit,
    ),
    _row(
        Meaning.TOO_LARGE,
        _S.UNAVAILABLE,
        r"queue to which this task was submitted is full; task size is (?P<rows>\d{1,18}) .{0,400}"
        r"max_enqueued_batches=(?P<batches>[1-9]\d{0,17}),.{0,400}max_execution_batch_size=(?P<size>[1-9]\d{0,17})\b",
        f"the batching layer, for a task that is larger than its whole queue: {_SCHEDULER}",
        holds_if=_never_fits,
        limit=_queue_capacity,
    ),
    _row(
        Meaning.TOO_LARGE,
        (_S.RESOURCE_EXHAUSTED, _S.OUT_OF_RANGE, _S.INTERNAL),
        r"message larger than max|message (size )?exceeds (the )?maximum",
        "gRPC, of either side: src/core/ext/filters/message_size (C++, Python), grpc-go, grpc-java, grpc-dotnet",
    ),
    _row(
        Meaning.TOO_LARGE,
        _S.RESOURCE_EXHAUSTED,
        r"^the (reply|request) has more than \d+ bytes",
        "the limits of this package: max_reply_bytes and max_inflated_bytes of clients, and tfs-serve's own",
    ),
    _row(
        Meaning.TOO_LARGE,
        _ANY,
        r"http2 header with status: 413|^HTTP 413\b",
        "a proxy before the server, such as nginx with client_max_body_size",
    ),
    _row(Meaning.TOO_LARGE, _ANY, "", "HTTP's Content Too Large: RFC 9110, 15.5.14", http=(413,)),
    _row(
        Meaning.TOO_LARGE,
        (_S.RESOURCE_EXHAUSTED, _S.INTERNAL),
        r"OOM when allocating|failed to allocate|out of memory|OUT_OF_MEMORY|unable to allocate|MemoryError",
        "TensorFlow's allocators, XLA and CUDA, for a batch that does not fit in the device's memory: "
        "tensorflow/core/framework/op_kernel.cc, core/common_runtime/bfc_allocator.cc; numpy's MemoryError",
    ),
    # --- exhausted, but neither waiting nor fewer rows help ---
    _row(
        Meaning.OTHER,
        _S.RESOURCE_EXHAUSTED,
        r"metadata size exceeds",
        "gRPC, for metadata over grpc.max_metadata_size: src/core/ext/transport/chttp2/transport/hpack_parser.cc",
    ),
    _row(Meaning.OTHER, _ANY, "", "HTTP's Request Header Fields Too Large: RFC 6585, 5", http=(431,)),
    _row(
        Meaning.OTHER,
        _S.RESOURCE_EXHAUSTED,
        r"Insufficient resources to load servable",
        "the server, for a version that does not fit: tensorflow_serving/core/basic_manager.cc",
    ),
    # --- busy ---
    _row(
        Meaning.BUSY,
        _ANY,
        "",
        "any sender that says when to retry: gRPC's push-back (gRFC A6), HTTP's Retry-After (RFC 9110, 10.2.3)",
        asks_to_wait=True,
    ),
    _row(
        Meaning.BUSY,
        _ANY,
        r"Server Threadpool Exhausted",
        "gRPC's thread quota, --grpc_max_threads: src/cpp/server/server_cc.cc",
    ),
    _row(
        Meaning.BUSY,
        _S.RESOURCE_EXHAUSTED,
        r"^$",
        "the thread quota of older gRPC, without a text: tensorflow/serving#1795",
    ),
    _row(
        Meaning.BUSY,
        _S.UNAVAILABLE,
        r"The batch scheduling queue to which this task was submitted is full",
        f"the batching layer: {_SCHEDULER}",
    ),
    _row(
        Meaning.BUSY,
        _S.UNAVAILABLE,
        r"This task would start a fresh batch, but all batch threads are busy",
        "the batching layer of older servers: tensorflow/serving#10",
    ),
    _row(
        Meaning.BUSY,
        _S.RESOURCE_EXHAUSTED,
        r"timeout exceeded while waiting in batching queue",
        "the batching layer, for a task that waited too long: tensorflow_serving/batching/batching_session.cc",
    ),
    _row(
        Meaning.BUSY,
        _S.CANCELLED,
        r"^CANCELLED$",
        "gRPC, for calls beyond grpc.server.max_pending_requests: src/core/lib/surface/server.cc",
    ),
    _row(
        Meaning.BUSY,
        _ANY,
        r"http2 header with status: 429|^HTTP 429\b",
        "a proxy before the server",
    ),
    _row(
        Meaning.BUSY,
        _S.UNAVAILABLE,
        r"reset reason: overflow|envoy overloaded|local_rate_limited|request queue full|activator overload",
        "Envoy's circuit breakers and limits; Knative's queue proxy, which KServe uses",
    ),
    _row(
        Meaning.BUSY,
        _S.RESOURCE_EXHAUSTED,
        "",
        "any other limit: HTTP 429, `Concurrent RPC limit exceeded!` of Python servers, quotas of gateways",
    ),
    _row(Meaning.BUSY, _S.UNAVAILABLE, r"^HTTP 503\b", "a proxy over its limits: RFC 9110, 15.6.4; nginx limit_req"),
    # --- gone ---
    _row(
        Meaning.GONE,
        _S.UNAVAILABLE,
        "",
        "no connection, or a broken one; a server that is stopping or starting; HTTP 502 of proxies",
    ),
    _row(
        Meaning.GONE,
        _S.DEADLINE_EXCEEDED,
        r"^HTTP 504\b",
        "a proxy that could not reach the server: RFC 9110, 15.6.5",
    ),
    _row(Meaning.GONE, _S.UNKNOWN, r"^Stream removed$", "gRPC up to 1.60, for a connection that broke"),
    # --- a server or proxy that breaks the protocol ---
    _row(
        Meaning.OTHER,
        _S.INTERNAL,
        r"^The server answered OK without a message$",
        "_transports/grpc_errors.py; another attempt, or other inputs, most likely end the same way",
    ),
    # --- your inputs ---
    _row(
        Meaning.INPUTS,
        (_S.INVALID_ARGUMENT, _S.INTERNAL, _S.UNKNOWN, _S.OUT_OF_RANGE, _S.DATA_LOSS, _S.UNIMPLEMENTED),
        "",
        "the server's checks and the model's ops, for invalid values: tensorflow/core/protobuf/error_codes.proto",
    ),
)

_OVER_2_GIB = re.compile(r"of at most \d+ bytes, got \d+; send it in smaller batches")


def meaning_of(error: BaseException) -> Meaning:
    """The meaning of an error for its request."""
    return _found(error)[0]


def row_limit(error: BaseException) -> int | None:
    """The number of rows that the server accepts in one request, from a TOO_LARGE error; None if it does not say."""
    return _found(error)[1]


def _found(error: BaseException) -> tuple[Meaning, int | None]:
    if isinstance(error, CallError):
        for row in TABLE:
            if (match := row.match(error)) is not None:
                return row.meaning, None if row.limit is None else row.limit(match)
    elif isinstance(error, EncodeError) and _OVER_2_GIB.search(str(error)):  # _codec/predict_messages.py
        return Meaning.TOO_LARGE, None
    elif isinstance(error, (EncodeError, DecodeError, SignatureError)):
        return Meaning.INPUTS, None
    return Meaning.OTHER, None
