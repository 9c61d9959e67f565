"""FaultHooks: produces the faults of a fake server's calls."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import (
    CallError,
    CancelledError,
    ResourceExhaustedError,
    StatusCode,
    UnavailableError,
    call_error,
)
from tfs_client.server.call_deadlines import check_call, client_waits, deadline
from tfs_client.server.call_hooks import HttpReply
from tfs_client.server.call_record import GAVE_UP, CallKey, ServedCall
from tfs_client.server.grpc.overload import EXHAUSTED
from tfs_client.server.servable import Servable
from tfs_client.testing import faults
from tfs_client.testing.faults import broken_replies
from tfs_client.testing.faults.handles import CallFault
from tfs_client.testing.faults.kinds import Fault
from tfs_client.testing.faults.model_states import ModelStates
from tfs_client.testing.faults.rules import Faults
from tfs_client.testing.relay.relay import ConnectionRelay

LOOK = 0.01  # seconds between two looks whether a client still waits
GONE = 1.0  # seconds in which the server notices that a connection has been reset; it takes milliseconds

BUSY_TEXTS: dict[str, CallError] = {
    "threads": ResourceExhaustedError(EXHAUSTED),
    "no details": ResourceExhaustedError(""),
    "split queue": UnavailableError(
        "The batch scheduling queue to which this task was submitted is full; task size is 1 but scheduling capacity "
        "is only 0 (num_enqueued_batches=64, max_enqueued_batches=64, open_batch_size=32, max_execution_batch_size=32)"
    ),
    "queue timeout": ResourceExhaustedError("Run() timeout exceeded while waiting in batching queue"),
}


class FaultHooks:
    """Hooks that wait, refuse calls and change replies, as the rules say.

    Args:
        rules: which calls have which faults.
        states: the states of versions.
        relay: breaks connections.
    """

    def __init__(self, rules: Faults, states: ModelStates, relay: ConnectionRelay) -> None:
        self._rules = rules
        self._states = states
        self._relay = relay
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting: WeakKeyDictionary[CallKey, Sequence[CallFault]] = WeakKeyDictionary()

    def start(self) -> None:
        """Wait where faults say so."""
        self._stopping.clear()

    def stop(self) -> None:
        """End all pauses. Their calls end with UNAVAILABLE."""
        self._stopping.set()

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """See CallHooks."""
        found = self._rules.of(call, spec)
        if not found:
            return
        note_inputs()  # now: the call may end during a pause
        waiting = [each for each in found if each.reserved or isinstance(each.fault, faults.HtmlErrorPage)]
        if waiting:
            with self._lock:
                self._waiting[call.key] = waiting
        pause = sum(each.fault.seconds for each in found if isinstance(each.fault, faults.Latency))
        if pause:
            self._wait(pause)
        for each in found:
            self._meet(each, call, spec)

    def ended(self, call: ServedCall) -> None:
        """Observe the end of a call, and give back the faults that had no effect on it: the next call gets them."""
        if not self._waiting or (call.transport == "rest" and call.code is StatusCode.OK):  # rest_reply comes next
            return
        with self._lock:
            found = self._waiting.get(call.key, ())
        for each in found:
            self._rules.give_back(each)

    def _meet(self, found: CallFault, call: ServedCall, spec: ModelSpec) -> None:
        """Produce the part of a fault that comes before the model."""
        match fault := found.fault:
            case faults.DeadlineOverrun():
                self._wait(math.inf)
            case faults.VersionVanishes():
                if self._states.vanish(spec):
                    self._rules.count(found)
                else:
                    self._rules.give_back(found)
            case faults.ConnectionReset(after_bytes=0):
                self._relay.reset(call.peer)
                raise _gone()
            case faults.HtmlErrorPage(status=status) if call.transport == "grpc":
                page = broken_replies.html_page(status, fault.page)
                self._relay.error_page(call.peer, status, page.content)
                raise _gone()
            case _:
                refusal = refusal_of(fault)
                if refusal is not None:
                    raise refusal

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """See CallHooks."""
        return servable

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """See CallHooks."""
        waits = client_waits()
        for found in self._taken(call):
            if waits is not None and not waits():
                self._rules.give_back(found)
                continue
            if not self._rules.count(found):
                continue
            match found.fault:
                case faults.TruncatedReply():
                    reply = broken_replies.truncated(reply)
                case faults.GarbageReply(size=size, seed=seed):
                    reply = broken_replies.garbage(size, seed)
                case faults.OversizedReply(size=size):
                    reply = broken_replies.padded_message(reply, size)
                case faults.SlowReply(bytes_per_second=rate):
                    self._rules.slow_down(call, found, rate, len(reply))
                case faults.ConnectionReset(after_bytes=count):
                    self._relay.reset(call.peer, count)
        return reply

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """See CallHooks."""
        for found in self._taken(call):
            if isinstance(found.fault, faults.HtmlErrorPage):
                return broken_replies.html_page(found.fault.status, found.fault.page)
            if reply.status != 200 or not self._rules.count(found):
                continue
            body = reply.content
            match found.fault:
                case faults.TruncatedReply():
                    body, cut = broken_replies.truncation(body)
                    self._relay.close(call.peer, cut)
                case faults.GarbageReply(size=size, seed=seed):
                    body = broken_replies.garbage(size, seed)
                case faults.OversizedReply(size=size):
                    body = broken_replies.padded_json(body, size)
                case faults.SlowReply(bytes_per_second=rate):
                    self._rules.slow_down(call, found, rate, len(body))
                case faults.ConnectionReset(after_bytes=count):
                    self._relay.reset(call.peer, count)
            reply = reply._replace(content=body)
        return reply

    def _taken(self, call: ServedCall) -> Sequence[CallFault]:
        if not self._waiting:
            return ()
        with self._lock:
            return self._waiting.pop(call.key, ())

    def _wait(self, seconds: float) -> None:
        """Wait, as long as the call has time, its client waits and the server runs."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            limit = deadline()
            if limit is not None:
                left = min(left, limit - time.monotonic())
            if self._stopping.wait(max(0.0, min(left, LOOK))):
                raise UnavailableError("the server is stopping")
            check_call()


def refusal_of(fault: Fault) -> CallError | None:
    """Return the error with which the server refuses a call; None for faults of other kinds."""
    match fault:
        case faults.Status(code=code, details=details):
            return call_error(code, details)
        case faults.Busy(form="queue"):
            return refusal_of(faults.QueueFull())
        case faults.Busy(form=form):
            return call_error(BUSY_TEXTS[form].code, BUSY_TEXTS[form].details)
        case faults.QueueFull(max_enqueued_batches=limit):
            return UnavailableError(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{limit} batches enqueued and max_enqueued_batches is {limit}"
            )
        case faults.HtmlErrorPage(status=status):
            return call_error(StatusCode.UNAVAILABLE, f"a proxy answered with HTTP status {status}")
        case _:
            return None


def _gone() -> CallError:
    """Wait until the server notices that this thread's call has no connection any more, and return the call's error."""
    waits = client_waits()
    end = time.monotonic() + GONE
    while waits is not None and waits() and time.monotonic() < end:
        time.sleep(LOOK / 10)
    return CancelledError(GAVE_UP)
