"""ServedCall: the record of one call over gRPC or REST, and the observers that receive it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tfs_client._codec.dtypes import Array
from tfs_client.errors import CallError, DecodeError, StatusCode
from tfs_client.server.model_failures import details_of, text_of

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

TOO_LATE = "Timed out waiting for notification"  # TensorFlow's direct_session.cc
GAVE_UP = "the client gave up"


# The inputs of a call that have not been read. A call that sent none has another empty mapping.
UNREAD: Mapping[str, Array] = {}


class CallKey:
    """The identity of a call, which the copies of its record share."""

    __slots__ = ("__weakref__",)


@dataclass
class ServedCall:
    """The record of a call: what was asked for, and how the call ended.

    Attributes:
        method: the API method, e.g. "Predict"; "" for a REST request to another path, which is only counted.
        model: the requested model.
        version: the version that answered; None if no version was found.
        signature: the requested signature; "" for the default one.
        inputs, outputs: the tensors of a Predict call, by alias, as far as the call got. In a fake server, failed calls
            have the inputs that were sent, if they can be read.
        metadata: the client's metadata, by key, the last of several values; over REST the HTTP headers.
        code, details: the status of the call; CANCELLED if the client gave up first.
        transport: "grpc" or "rest".
        timeout: the seconds that the client allowed for the call, as they arrived; None without a deadline, and over
            REST, which has no deadlines. If the deadline has passed while the call waited for a thread, the time until
            it got one.
        examples: the number of examples in a Classify, Regress or MultiInference call.
        peer: the client's address in the notation of its transport: "ipv4:127.0.0.1:5000" for gRPC, "127.0.0.1:5000"
            for REST.
        bytes_in: the size of the request's message or body as it arrived.
        bytes_out: the size of the reply's message or body; 0 for a gRPC call that failed.
        began: the time of arrival, by ``time.monotonic()``.
        seconds: the duration of the call, once it has ended.
        run_seconds: the time for which the model ran, including the time in a batching queue; None if it did not run,
            or failed.
    """

    method: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    inputs: Mapping[str, Array] = field(default_factory=lambda: UNREAD)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    code: StatusCode = StatusCode.OK
    details: str = ""
    transport: str = "grpc"
    timeout: float | None = None
    examples: int = 0
    peer: str = field(default="", compare=False)
    bytes_in: int = field(default=0, compare=False)
    bytes_out: int = field(default=0, compare=False)
    began: float = field(default_factory=time.monotonic, repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)
    run_seconds: float | None = field(default=None, repr=False, compare=False)
    key: CallKey = field(default_factory=CallKey, repr=False, compare=False)

    def running(self) -> ModelRun:
        """Return a context manager for a block in which the model runs. The times of several blocks add up."""
        return ModelRun(self)

    def late(self) -> None:
        """Record that the deadline has passed. The model's result, if any, is not sent."""
        self.code, self.details = StatusCode.DEADLINE_EXCEEDED, TOO_LATE
        self.run_seconds = None

    def gave_up(self) -> None:
        """Record that the client has given up."""
        self.code, self.details = StatusCode.CANCELLED, GAVE_UP

    def left(self) -> None:
        """Record that the client has gone: its deadline has passed, or it has given up before."""
        if self.timeout is not None and self.remaining() < clock_slack(self.timeout):
            self.late()
        else:
            self.gave_up()

    def remaining(self) -> float:
        """The seconds until the deadline; infinite without one."""
        return math.inf if self.timeout is None else self.began + self.timeout - time.monotonic()


def clock_slack(timeout: float) -> float:
    """Return how many seconds earlier a deadline may pass at the client than here.

    A deadline travels as a time span. gRPC rounds it up by at most 1 %, and the transfer takes time.
    """
    return min(0.1 + timeout / 100, 1.0)


class ModelRun:
    """Measures a run of the model. A class because every call makes one: a generator is slower."""

    __slots__ = ("_call", "_started")

    def __init__(self, call: ServedCall) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._call.run_seconds = (self._call.run_seconds or 0.0) + time.monotonic() - self._started


Observer = Callable[[ServedCall], None]
Peers = Callable[[str], str]  # the client's address for the address of a connection


def run_recorded(call: ServedCall, work: Callable[[], T]) -> T | None:
    """Do the work of a call and return its result. An exception is recorded in the call; the result is None then."""
    try:
        return work()
    except CallError as error:
        # An error with the code OK counts as INTERNAL.
        call.code, call.details = error.code or StatusCode.INTERNAL, details_of(error)
    except DecodeError as error:
        call.code, call.details = StatusCode.INTERNAL, f"the request is not a message of {call.method}: {error}"
    except BaseException as error:  # also SystemExit and pytest's outcomes: the client waits for an answer
        log.exception("%s failed", call.method)
        call.code, call.details = StatusCode.INTERNAL, text_of(error)
    return None


def notify_observer(observer: Observer | None, call: ServedCall) -> None:
    """Pass a call that has ended to the observer, if any."""
    call.seconds = time.monotonic() - call.began
    if observer is not None:
        try:
            observer(call)
        except Exception:  # an observer's error must not fail the call
            log.exception("the observer failed")


def finite_timeout(timeout: float | None) -> float | None:
    """Return the time limit of a gRPC call; None without one."""
    return timeout if timeout is not None and timeout < _FOR_EVER else None


_FOR_EVER = 10 * 365 * 24 * 3600.0  # seconds; gRPC represents no deadline as one far in the future


class CallReport:
    """Passes a call to its observer once: when it ends, or earlier when its client goes while it still runs."""

    __slots__ = ("_call", "_observer", "_once")

    def __init__(self, observer: Observer, call: ServedCall) -> None:
        self._observer = observer
        self._call = call
        self._once = threading.Lock()  # the thread that gets it reports; it is never released

    def ended(self) -> None:
        """Report that the call has ended."""
        if self._once.acquire(blocking=False):
            notify_observer(self._observer, self._call)

    def left(self) -> None:
        """Report that the client has gone. Later changes to the call are not reported."""
        if self._once.acquire(blocking=False):
            record = replace(self._call)
            record.left()
            notify_observer(self._observer, record)


def combine_observers(observer: Observer | None, *others: Observer) -> Observer | None:
    """Combine observers: ``others`` receive every call, ``observer`` only calls of an API method."""
    if observer is None and len(others) <= 1:
        return others[0] if others else None

    def observe_all(call: ServedCall) -> None:
        for other in others:
            notify_observer(other, call)
        if observer is not None and call.method:
            observer(call)

    return observe_all
