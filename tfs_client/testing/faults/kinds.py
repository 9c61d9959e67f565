"""The faults of a single call, as descriptions: ``FaultHooks`` produces them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, get_args

from tfs_client._printable import shown
from tfs_client.errors import ConfigError, StatusCode
from tfs_client.testing.faults.argument_checks import LARGEST, LONGEST, check_count, check_number

BusyForm: TypeAlias = Literal["threads", "no details", "queue", "split queue", "queue timeout"]
"""How a busy model server answers.

threads: its threads are exhausted: RESOURCE_EXHAUSTED, ``Server Threadpool Exhausted``.
no details: the same from a server with an older gRPC: RESOURCE_EXHAUSTED without a text.
queue: its batching queue is full: UNAVAILABLE; see QueueFull.
split queue: the same from a server that splits large batches, which words it differently.
queue timeout: the call waited too long in the batching queue: RESOURCE_EXHAUSTED.
"""

# --- latency ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """A pause before the model runs. The latencies of several rules add up.

    If the call's deadline passes meanwhile, it ends then with DEADLINE_EXCEEDED, as in TensorFlow Serving; over REST
    after the server's ``rest_timeout``. A server that stops does not wait for the pause.

    Attributes:
        seconds: the length of the pause.
    """

    seconds: float

    def __post_init__(self) -> None:
        check_number("a latency in seconds", self.seconds, 0, LONGEST)

    @staticmethod
    def uniform(low: float, high: float) -> UniformLatency:
        """Return a latency that is drawn anew for each call, each length from ``low`` to ``high`` equally likely."""
        return UniformLatency(low, high)

    @staticmethod
    def lognormal(median: float, sigma: float) -> LognormalLatency:
        """Return a latency that is drawn anew for each call: half of them above ``median``, a few far above it.

        ``sigma`` is the standard deviation of its logarithm; 0.5 puts one call in a hundred above 3.2 times the median.
        """
        return LognormalLatency(median, sigma)

    def drawn(self, random: Random) -> Latency:
        """Return the latency of one call."""
        return self


@dataclass(frozen=True)
class UniformLatency:
    """A pause whose length is drawn for each call; see ``Latency.uniform``.

    Attributes:
        low, high: the least and the greatest length in seconds.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("the least latency in seconds", self.low, 0, LONGEST)
        check_number("the greatest latency in seconds", self.high, self.low, LONGEST)

    def drawn(self, random: Random) -> Latency:
        """Return the latency of one call."""
        return Latency(random.uniform(self.low, self.high))


@dataclass(frozen=True)
class LognormalLatency:
    """A pause whose length is drawn for each call; see ``Latency.lognormal``.

    Attributes:
        median: the length in seconds that half of the calls exceed.
        sigma: the standard deviation of the logarithm, at most 5. No pause exceeds an hour.
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        check_number("the median latency in seconds", self.median, 0, LONGEST, above=True)
        check_number("sigma", self.sigma, 0, 5)

    def drawn(self, random: Random) -> Latency:
        """Return the latency of one call."""
        return Latency(min(random.lognormvariate(math.log(self.median), self.sigma), LONGEST))


@dataclass(frozen=True)
class DeadlineOverrun:
    """The server does not answer before the call's deadline; the model does not run.

    Over REST, which has no deadlines, the call lasts until the client disconnects or ``ServerConfig.rest_timeout`` has
    passed. A test of this fault takes as long as its timeout, so choose a short one. To see the error at once, use
    ``Status("DEADLINE_EXCEEDED", "Timed out waiting for notification")``.
    """


# --- refusals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """The server refuses the call: with a status over gRPC, with the HTTP status for it and a JSON error over REST.

    Attributes:
        code: the status code, or its name or number; not OK.
        details: the text.
    """

    code: StatusCode
    details: str

    def __init__(self, code: StatusCode | str | int, details: str = "") -> None:
        object.__setattr__(self, "code", _code(code))
        if not isinstance(details, str):
            raise ConfigError(f"expected the details of a status as a str, got {shown(details)}")
        object.__setattr__(self, "details", details)


def _code(code: StatusCode | str | int) -> StatusCode:
    if isinstance(code, bool) or not isinstance(code, (str, int)):
        raise ConfigError(f"expected a status code such as 'UNAVAILABLE', got {shown(code)}")
    try:
        found = StatusCode[code] if isinstance(code, str) else StatusCode(code)
    except (KeyError, ValueError):
        raise ConfigError(f"expected a status code such as 'UNAVAILABLE', got {shown(code)}") from None
    if found is StatusCode.OK:
        raise ConfigError("expected the status code of an error, got OK; Pass() is the step that answers normally")
    return found


@dataclass(frozen=True)
class Busy:
    """The server is overloaded and accepts the same call later.

    TensorFlow Serving sends "threads" and "no details" over gRPC only, because REST calls wait for a thread. Here REST
    clients get the HTTP status for the code, 429 or 503, with a JSON error.

    Attributes:
        form: how the server reports it: "threads" (``Server Threadpool Exhausted``), "no details" (older servers),
            "queue" and "split queue" (a full batching queue), or "queue timeout".
    """

    form: BusyForm = "threads"

    def __post_init__(self) -> None:
        if self.form not in get_args(BusyForm):
            raise ConfigError(f"expected a form of busy: {', '.join(get_args(BusyForm))}; got {shown(self.form)}")


@dataclass(frozen=True)
class QueueFull:
    """The server's batching queue is full: UNAVAILABLE. ``Busy("queue")`` is the same with the default limit.

    Attributes:
        max_enqueued_batches: the limit that the text names.
    """

    max_enqueued_batches: int = 64

    def __post_init__(self) -> None:
        check_count("max_enqueued_batches", self.max_enqueued_batches)


@dataclass(frozen=True)
class HtmlErrorPage:
    """A proxy in front of the server answers with an error page; the server does not see the call.

    Attributes:
        status: the HTTP status, 400 to 599.
        page: the page; by default a short one that names the status.
    """

    status: int = 502
    page: str | None = None

    def __post_init__(self) -> None:
        check_count("an HTTP status", self.status, 400, 599)
        if self.page is not None and not isinstance(self.page, str):
            raise ConfigError(f"expected the page as a str, got {shown(self.page)}")


@dataclass(frozen=True)
class ConnectionReset:
    """The connection breaks, before the reply or in the middle of it. Other calls on the connection break too.

    Attributes:
        after_bytes: the number of bytes that still reach the client, HTTP's own included; with 0 the connection breaks
            before the model runs.
    """

    after_bytes: int = 0

    def __post_init__(self) -> None:
        check_count("after_bytes", self.after_bytes, 0)


# --- replies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TruncatedReply:
    """Half of the reply is missing. The model runs; calls that fail are answered in full.

    Over gRPC the message ends in the middle of a field. Over REST the connection ends before the announced length.
    """


@dataclass(frozen=True)
class GarbageReply:
    """The reply is random bytes that are neither a valid message nor JSON. The model runs; calls that fail are answered
    normally.

    Attributes:
        size: the number of bytes.
        seed: the same seed gives the same bytes.
    """

    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("the size of a reply in bytes", self.size)


@dataclass(frozen=True)
class OversizedReply:
    """A valid reply, padded to a size that the client may not accept (``max_reply_bytes``).

    Over gRPC the padding is an unknown field, over REST it is whitespace.

    Attributes:
        size: the minimum size in bytes; longer replies are unchanged.
    """

    size: int

    def __post_init__(self) -> None:
        check_count("the size of a reply in bytes", self.size)


@dataclass(frozen=True)
class SlowReply:
    """The reply arrives in small pieces, as do other replies on the same connection meanwhile.

    A reply that its client has given up still keeps the connection slow, until it has passed or the fault is removed.

    Attributes:
        bytes_per_second: the rate.
    """

    bytes_per_second: float

    def __post_init__(self) -> None:
        check_number("bytes per second", self.bytes_per_second, 1, LARGEST)


# --- versions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VersionVanishes:
    """The version that would answer is unloaded just before. The call continues as in TensorFlow Serving.

    A call for "the latest" gets the next lower version, and NOT_FOUND without one; a call for this version, or for a
    label of it, gets NOT_FOUND. ``FakeServer.add_model`` brings the version back.
    """


Fault: TypeAlias = (
    Latency
    | UniformLatency
    | LognormalLatency
    | DeadlineOverrun
    | Status
    | Busy
    | QueueFull
    | HtmlErrorPage
    | ConnectionReset
    | TruncatedReply
    | GarbageReply
    | OversizedReply
    | SlowReply
    | VersionVanishes
)
"""Any fault of a single call."""
