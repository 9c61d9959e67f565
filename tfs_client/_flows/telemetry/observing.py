"""Observing: watches the steps of a call, and reports them to hooks and to the log."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from logging import DEBUG
from types import MappingProxyType
from typing import Any, TypeVar

from tfs_client._codec.values import Untyped
from tfs_client._flows.asked import Asked
from tfs_client._flows.forks import Origin
from tfs_client._flows.telemetry.hooks import ClientHook, Reports, hook_runs, without_keys
from tfs_client._flows.telemetry.masking import Masking
from tfs_client._printable import bounded
from tfs_client._transports.api_methods import method_of
from tfs_client._transports.steps import Flow, Send, Sleep, Step
from tfs_client.errors import CallError, ClosedError, ConfigError, StatusCode, TFServingError
from tfs_client.options import MetadataPairs
from tfs_client.signatures import Signatures
from tfs_client.telemetry.logs import calls_log, log_call
from tfs_client.telemetry.records import AttemptEnded, Batch, CallEnded, CallStarted

Result = TypeVar("Result")

_numbers = itertools.count(1)
_LOG = ClientHook(log_call)
MOST_VALUES = 100  # of earlier requests that are masked in the texts of a call that makes very many


class Observer:
    """Watches the calls of one client.

    Args:
        hooks: receive the records.
        target: the server, without passwords.
        transport: "grpc" or "rest".
        masking: removes the client's secrets from the texts of errors.
        settled: metadata keys that hooks must not set, because the client's settings determine their values, and why.
    """

    def __init__(
        self,
        hooks: Sequence[ClientHook],
        target: str,
        transport: str,
        masking: Masking,
        settled: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._hooks = tuple(hooks)
        self._target = target
        self._transport = transport
        self._masking = masking
        self._settled = settled

    @property
    def watching(self) -> bool:
        """Whether anything receives the records of a call that begins now."""
        return bool(self._receivers())

    def _receivers(self) -> tuple[ClientHook, ...]:
        """The functions that receive the records of a call that begins now. It is asked at the start of every call."""
        receivers = (*self._hooks, _LOG) if calls_log.isEnabledFor(DEBUG) else self._hooks
        return () if not receivers or hook_runs() else receivers

    def observed(
        self,
        make: Callable[[Asked], Flow[Result]],
        method: str,
        asked: Asked,
        rows: int | None = None,
        batch: Batch | None = None,
    ) -> Flow[Result]:
        """Run the flow that ``make`` returns, and report its steps."""
        spec = asked.spec
        facts: dict[str, Any] = {
            "call": next(_numbers),
            "method": method,
            "model": spec.name,
            "version": spec.version,
            "label": spec.label,
            "signature": spec.signature,
            "transport": self._transport,
            "target": self._target,
            "rows": rows,
            "request_id": asked.request_id,
            "batch": batch,
        }
        return (yield from _Watch(Reports(self._receivers(), self._settled), facts, self._masking).run(make, asked))


class _Watch:
    """Watches the steps of one call.

    Args:
        reports: receives the records.
        facts: what all records of the call have in common.
        masking: removes the client's secrets from the texts of errors.
    """

    # Every moment of a call belongs to one of four times, so that their sum is the duration of the call: a request is
    # under way (``wait``), the call pauses (``paused``), or the client itself works. Work before a request, for the
    # token function too, is ``encode``; work after the last reply is ``decode``. Which of the two it is shows at the
    # next step.
    #
    # An attempt is reported at the step after it: if that is a pause, the record has its length.

    def __init__(self, reports: Reports, facts: dict[str, Any], masking: Masking) -> None:
        self._reports = reports
        self._masking = masking
        self._metadata: MetadataPairs = ()  # of all requests, tokens included
        self._facts = facts
        self._origin = Origin()
        self._began = self._mark = time.perf_counter()  # ``mark``: when the step, or the work after it, began
        self._encode = self._wait = self._paused = 0.0
        self._out = self._in = 0
        self._numbers: dict[str, int] = {}  # the last attempt, by the API method of the request
        self._same = False  # whether the next request belongs to the same attempt, because the call waits for a server
        self._attempt: dict[str, Any] | None = None  # the attempt that is not reported yet

    def run(self, make: Callable[[Asked], Flow[Result]], asked: Asked) -> Flow[Result]:
        """Pass the steps of a flow on, and report them."""
        flow: Flow[Result] | None = None
        try:
            flow = make(self._started(asked))
            result: Result = yield from self._steps(flow)
            self._report_attempt(None)
        except BaseException as error:
            if flow is not None:
                flow.close()  # a hook may have interrupted the call
            # A forked process drops the calls of its parent, and a program that ends those under way: without a record.
            if not isinstance(error, GeneratorExit) or (self._origin.here and not sys.is_finalizing()):
                try:
                    self._report_attempt(None)
                finally:
                    self._ended(error, None)
            raise
        self._ended(None, result)
        return result

    def _steps(self, flow: Flow[Result]) -> Flow[Result]:
        try:
            step = next(flow)
            while True:
                self._begins(step)
                try:
                    answer = yield step
                except BaseException as error:
                    self._answered(step, None, error)
                    step = flow.throw(error)
                else:
                    self._answered(step, answer, None)
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _started(self, asked: Asked) -> Asked:
        """Report the start; returns what the call asks for, with the metadata of the hooks."""
        found = self._reports.give(CallStarted(**self._facts, timeout=asked.deadline.limit))
        pairs = without_keys(found, (key for key, _ in asked.metadata))
        if not pairs:
            return asked
        added = tuple(key for key, _ in pairs)
        return asked._replace(metadata=(*asked.metadata, *pairs), added=added)

    def _begins(self, step: Step) -> None:
        self._report_attempt(step.seconds if isinstance(step, Sleep) else None)
        now = time.perf_counter()
        self._encode += now - self._mark
        self._mark = now

    def _answered(self, step: Step, answer: Any, error: BaseException | None) -> None:
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        if isinstance(step, Send):
            if _was_sent(error):
                self._wait += seconds
                self._attempt = self._attempted(step, _size(answer, error), error, seconds)
            else:
                self._encode += seconds
        elif isinstance(step, Sleep):
            self._paused += seconds
            self._same = step.waiting
        else:
            self._encode += seconds

    def _attempted(self, send: Send, size: int, error: BaseException | None, seconds: float) -> dict[str, Any]:
        """The facts about an attempt. They do not refer to the request: its memory is reused."""
        sent = method_of(send.address)
        number = self._numbers.get(sent, 0) + (not self._same)
        self._numbers[sent], self._same = number, False
        unreached = isinstance(error, CallError) and error.unreached
        if send.metadata != self._metadata:  # the error of one request may quote what an earlier one sent
            known = tuple(dict.fromkeys((*send.metadata, *self._metadata)))
            self._metadata = known[: max(MOST_VALUES, len(send.metadata))]
        bytes_out = 0 if unreached else len(send.body)
        self._out += bytes_out
        self._in += size
        code = _code(error)
        return {
            "sent": sent,
            "attempt": number,
            "code": StatusCode.UNKNOWN if code is None else code,
            "details": self._details(error),
            "unreached": unreached,
            "bytes_out": bytes_out,
            "bytes_in": size,
            "seconds": seconds,
            "http_status": _http_status(error),
        }

    def _details(self, error: BaseException | None) -> str:
        """The text of an error without secrets; a text that was cut might end within one."""
        if isinstance(error, CallError):
            return self._masking.masked(error.details, self._metadata)
        if isinstance(error, TFServingError):
            return bounded(self._masking.masked(error._text(), self._metadata))
        return ""  # the text of other errors may be anything

    def _report_attempt(self, pause: float | None) -> None:
        """Report the previous attempt: by now its pause is known."""
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            self._reports.give(AttemptEnded(**self._facts, **attempt, pause=pause))

    def _ended(self, error: BaseException | None, result: object) -> None:
        now = time.perf_counter()
        own, decode = now - self._mark, 0.0
        attempts = self._numbers.get(self._facts["method"], 0)
        if not self._numbers:
            self._encode += own
        else:
            decode = own
            # The call may have failed before it was sent, in a look-up.
            attempts = max(attempts, error.attempts) if isinstance(error, CallError) else attempts
        self._reports.give(
            CallEnded(
                **self._facts,
                answered=_version(result),
                code=_code(error),
                error=_name(error),
                details=self._details(error),
                hint=self._masking.masked(error.hint, self._metadata) if isinstance(error, CallError) else "",
                attempts=attempts,
                bytes_out=self._out,
                bytes_in=self._in,
                encode=self._encode,
                wait=self._wait,
                paused=self._paused,
                decode=decode,
                seconds=now - self._began,
                http_status=_http_status(error),
            )
        )


def _was_sent(error: BaseException | None) -> bool:
    """Whether the request of a step was sent, or may have been."""
    if isinstance(error, ClosedError):
        return error.sent
    return not isinstance(error, ConfigError)


def _size(answer: Any, error: BaseException | None) -> int:
    """The bytes of the reply to a request; over REST, a refusal has some too."""
    if error is None:
        return len(answer.body)
    return len(error.raw) if isinstance(error, CallError) and error.raw else 0


def _code(error: BaseException | None) -> StatusCode | None:
    """The status code of an outcome; None for an error that neither the server nor the network caused."""
    if error is None:
        return StatusCode.OK
    if isinstance(error, CallError):
        return error.code
    if isinstance(error, ClosedError) or not isinstance(error, Exception):
        return StatusCode.CANCELLED
    return None


def _http_status(error: BaseException | None) -> int | None:
    return error.http_status if isinstance(error, CallError) else None


def _name(error: BaseException | None) -> str:
    if error is None:
        return ""
    # A cancelled future, and a task whose loop ends, close the flow.
    return "CancelledError" if isinstance(error, GeneratorExit) else type(error).__name__


def _version(result: object) -> int | None:
    """The version of the model in a result."""
    if isinstance(result, tuple):  # of MultiInference
        versions = {_version(part) for part in result}
        return versions.pop() if len(versions) == 1 else None
    if isinstance(result, Signatures):
        return result.version
    version = getattr(getattr(result, "model", None), "version", None)
    return version if isinstance(version, int) else None


def rows_of(inputs: object) -> int | None:
    """The length that axis 0 of all inputs has; None if they differ or have no such axis.

    None, too, for mappings that may compute or load a value whenever they are asked for it.
    """
    if isinstance(inputs, (dict, MappingProxyType)):
        lengths = set(map(_length, inputs.values()))
        return lengths.pop() if len(lengths) == 1 else None
    return None if isinstance(inputs, Mapping) else _length(inputs)


def _length(value: Any) -> int | None:
    try:
        value = value.array if isinstance(value, Untyped) else value  # futures copy Python values first
        shape = getattr(value, "shape", None)
        if shape is not None:
            return int(shape[0]) if len(shape) else None
        if isinstance(value, (str, bytes, bytearray, Mapping)) or not hasattr(type(value), "__len__"):
            return None
        return len(value)
    except Exception:  # of a foreign type; the call itself reports it
        return None
