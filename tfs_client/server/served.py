"""ServedCall: what a call was and what became of it, whichever face of the server it came to."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tfs_client.errors import CallError, DecodeError, StatusCode
from tfs_client.server.failures import details_of, text_of
from tfs_client.server.servable import Array

log = logging.getLogger(__name__)

T = TypeVar("T")

TOO_LATE = "Timed out waiting for notification"  # TensorFlow's direct_session.cc
GAVE_UP = "the client gave up"


@dataclass
class ServedCall:
    """What a call was and what became of it.

    Attributes:
        method: the API method, e.g. "Predict"; "" for a REST request that is for none of them, and
            is only counted.
        model: the name asked for.
        version: the version that answered; None when none was found.
        signature: the signature asked for; "" for the default one.
        inputs, outputs: the tensors of a Predict call, by alias, as far as it got.
        metadata: what the client sent along, by key; of several values the last. Over REST the HTTP headers.
        code, details: how it ended; CANCELLED when the client gave up first.
        transport: "grpc" or "rest".
        timeout: the seconds that the client gave the call, as they arrived; None without a deadline, and over REST,
            which has none.
        examples: how many examples a MultiInference call has brought.
        began: when it came, by ``time.monotonic()``.
        seconds: how long it took, once it has ended.
        run_seconds: how long the model itself ran for it, the time in a batching queue included; None when it did not
            run, or failed.
    """

    method: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    inputs: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    code: StatusCode = StatusCode.OK
    details: str = ""
    transport: str = "grpc"
    timeout: float | None = None
    examples: int = 0
    began: float = field(default_factory=time.monotonic, repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)
    run_seconds: float | None = field(default=None, repr=False, compare=False)
    key: object = field(default_factory=object, repr=False, compare=False)  # the same in copies of a record

    def running(self) -> ModelRun:
        """The model runs within a block of this; of several such blocks the times add up."""
        return ModelRun(self)

    def late(self) -> None:
        """The call's deadline has passed; whatever the model said came to nothing."""
        self.code, self.details = StatusCode.DEADLINE_EXCEEDED, TOO_LATE
        self.run_seconds = None

    def gave_up(self) -> None:
        """Nobody waits for the answer any more."""
        self.code, self.details = StatusCode.CANCELLED, GAVE_UP

    def left(self) -> None:
        """The client has gone: its deadline has passed, or it gave up before."""
        if self.timeout is not None and self.remaining() < clock_slack(self.timeout):
            self.late()
        else:
            self.gave_up()

    def remaining(self) -> float:
        """The seconds until the deadline; infinite without one."""
        return math.inf if self.timeout is None else self.began + self.timeout - time.monotonic()


def clock_slack(timeout: float) -> float:
    """How much earlier than here a deadline may pass at the client, in seconds.

    A deadline travels as a time span, which gRPC rounds up by 1 % at the most, and the way takes its time.
    """
    return min(0.1 + timeout / 100, 1.0)


class ModelRun:
    """Times a run of a model. A class for speed alone: every call makes one."""

    __slots__ = ("_call", "_started")

    def __init__(self, call: ServedCall) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._call.run_seconds = (self._call.run_seconds or 0.0) + time.monotonic() - self._started


Observer = Callable[[ServedCall], None]


def settle(call: ServedCall, work: Callable[[], T]) -> T | None:
    """Do the work of a call; what goes wrong is written down in the record, and there is no result then."""
    try:
        return work()
    except CallError as error:
        call.code, call.details = error.code or StatusCode.INTERNAL, details_of(error)  # OK is no error
    except DecodeError as error:
        call.code, call.details = StatusCode.INTERNAL, f"the request is no message of {call.method}: {error}"
    except BaseException as error:  # also SystemExit and pytest's outcomes: somebody waits for an answer
        log.exception("%s failed", call.method)
        call.code, call.details = StatusCode.INTERNAL, text_of(error)
    return None


def observe(observer: Observer | None, call: ServedCall) -> None:
    """Tell the observer, if there is one, of a call that has ended."""
    call.seconds = time.monotonic() - call.began
    if observer is not None:
        try:
            observer(call)
        except Exception:  # the observer's trouble is not the caller's
            log.exception("the observer failed")


def finite(timeout: float | None) -> float | None:
    """A time limit as gRPC has it; None where there is none."""
    return timeout if timeout is not None and timeout < _FOR_EVER else None


_FOR_EVER = 10 * 365 * 24 * 3600.0  # seconds; gRPC writes no deadline as one far away


class Recording:
    """Tells the observer of a call, once: when it has ended, or when its client has gone and the call goes on."""

    __slots__ = ("_call", "_observer", "_once")

    def __init__(self, observer: Observer, call: ServedCall) -> None:
        self._observer = observer
        self._call = call
        self._once = threading.Lock()  # whoever gets it tells; it is never given back

    def ended(self) -> None:
        """The call has ended."""
        if self._once.acquire(blocking=False):
            observe(self._observer, self._call)

    def left(self) -> None:
        """The client has gone. What becomes of the call after this is not recorded."""
        if self._once.acquire(blocking=False):
            record = replace(self._call)
            record.left()
            observe(self._observer, record)


def told(observer: Observer | None, count: Observer | None) -> Observer | None:
    """Who is told of calls: ``count`` of everything, ``observer`` only of what was a call of a method."""
    if observer is None:
        return count

    def tell(call: ServedCall) -> None:
        observe(count, call)
        if call.method:
            observer(call)

    return tell
