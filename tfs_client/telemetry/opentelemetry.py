"""OpenTelemetry: a span, and measurements, for each call.

Names follow the semantic conventions for RPC, version 1.44.0, in which they are release candidates:
``rpc.system.name``, ``rpc.method`` with the service, ``rpc.response.status_code`` as text, and
``rpc.client.call.duration`` in seconds. These replace ``rpc.system``, ``rpc.service``, ``rpc.grpc.status_code`` and
``rpc.client.duration`` in milliseconds. Version 1.44.0 has no metrics of sizes and attempts; their names begin with
"tfs_client", as do the attributes that only model servers have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfs_client import __version__
from tfs_client._printable import bounded, shown
from tfs_client._transports.api_methods import full_name
from tfs_client._transports.targets import grpc_authority
from tfs_client.errors import ConfigError, StatusCode
from tfs_client.options import check_flag
from tfs_client.telemetry.calls_under_way import CallsUnderWay
from tfs_client.telemetry.records import AttemptEnded, CallEnded, CallRecord, CallStarted

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

Attributes = dict[str, "str | int | float | bool"]

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SYSTEMS = {"grpc": "grpc", "rest": "tensorflow_serving_rest"}  # the conventions have no name for the latter
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)  # the conventions' advice
SIZES = tuple(4.0**power for power in range(3, 16))  # bytes, from 64 to 1 GiB
LONGEST = 256  # bytes of a text
MICRO = "micro"  # the kind of batches whose requests have many callers


class OpenTelemetry:
    """A hook that makes a span of each call, measures the calls, and propagates the trace context to the server.

    ::

        client = PredictClient("localhost:8500", model="m", hooks=OpenTelemetry())

    Spans have the kind CLIENT, and the span that is current where the call starts as their parent. Each attempt is an
    event of the span. A request of ``MicroBatcher`` has many callers, so its span is the root of a new trace. Failed
    calls have the status ERROR with the name of the error and its code. The texts of errors are left out, because
    servers and proxies may quote inputs and tokens in them. The attributes and metrics are listed in
    docs/observability.md.

    The hook can be pickled with its client if it uses the global providers; the copy uses those of its process.

    Args:
        tracer_provider: makes the spans; None for the global one. ``opentelemetry.trace.NoOpTracerProvider()`` makes
            none.
        meter_provider: makes the metrics; None for the global one.
        propagate: whether to send the headers of the global propagator with each call: by default ``traceparent``,
            ``tracestate`` and ``baggage``. It does not replace headers in the call's own metadata.

    Raises ConfigError without the package opentelemetry-api, and for arguments of other types.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagate: bool = True,
    ) -> None:
        try:
            from opentelemetry import context, metrics, trace
            from opentelemetry import propagate as propagation
        except ImportError as error:
            raise ConfigError(
                f"OpenTelemetry needs the package opentelemetry-api ({error}): pip install 'tfs-client[otel]'"
            ) from None
        providers = (("tracer_provider", tracer_provider, "tracer"), ("meter_provider", meter_provider, "meter"))
        for name, provider, what in providers:
            if provider is not None and not callable(getattr(provider, f"get_{what}", None)):
                raise ConfigError(f"expected {name}= as an object with get_{what}(), got {shown(provider)}")
        check_flag("propagate", propagate)
        self._custom = [name for name, provider, _ in providers if provider is not None]
        self._propagate = propagate
        self._inject = propagation.inject
        self._trace = trace
        self._no_parent = context.Context()
        self._tracer = trace.get_tracer("tfs_client", __version__, tracer_provider, SCHEMA)
        meter = metrics.get_meter("tfs_client", __version__, meter_provider, SCHEMA)
        self._duration = meter.create_histogram(
            "rpc.client.call.duration",
            "s",
            "Duration of a call, with all attempts, pauses and look-ups.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._request_size = meter.create_histogram(
            "tfs_client.request.size",
            "By",
            "Size of a request before compression.",
            explicit_bucket_boundaries_advisory=SIZES,
        )
        self._response_size = meter.create_histogram(
            "tfs_client.response.size",
            "By",
            "Size of a reply after it was inflated.",
            explicit_bucket_boundaries_advisory=SIZES,
        )
        self._attempts = meter.create_counter("tfs_client.attempts", "{attempt}", "Requests sent.")
        self._calls: CallsUnderWay[_Call] = CallsUnderWay()

    def __repr__(self) -> str:
        return "OpenTelemetry()" if self._propagate else "OpenTelemetry(propagate=False)"

    def __reduce__(self) -> tuple[object, ...]:
        if self._custom:
            raise ConfigError(
                f"OpenTelemetry with {' and '.join(self._custom)} cannot be pickled: set the global providers, "
                "which each process has for itself, and leave the argument out"
            )
        return _global, (self._propagate,)

    def __call__(self, record: CallRecord) -> Mapping[str, str] | None:
        """Receive a record. Answers the start of a call with the headers that pass its context on."""
        if isinstance(record, CallStarted):
            return self._started(record)
        if isinstance(record, AttemptEnded):
            self._attempted(record)
        elif isinstance(record, CallEnded):
            self._ended(record)
        return None

    def _started(self, record: CallStarted) -> Mapping[str, str] | None:
        began = time.time_ns()
        shared = record.batch is not None and record.batch.kind == MICRO
        span = self._tracer.start_span(
            full_name(record.method),
            self._no_parent if shared else None,
            self._trace.SpanKind.CLIENT,
            {**_asked(record), **_of_model(record)},
            start_time=began,
        )
        # Not made current: the rest of the call may run in other threads and tasks than those of its caller.
        context = self._trace.set_span_in_context(span, self._no_parent if shared else None)
        forgotten = self._calls.begin(record.call, _Call(span, context, began))
        if forgotten is not None:
            forgotten.span.end()
        if not self._propagate:
            return None
        headers: dict[str, str] = {}
        self._inject(headers, context)
        return {key.lower(): value for key, value in headers.items()}  # gRPC takes lower case only

    def _attempted(self, record: AttemptEnded) -> None:
        call = self._calls.find(record.call)
        context = None if call is None else call.context
        common = {**_common(record, record.sent), **_outcome(record, record.code, "")}
        self._attempts.add(1, common, context)
        if not record.unreached:
            self._request_size.record(record.bytes_out, common, context)
        if record.code == StatusCode.OK:
            self._response_size.record(record.bytes_in, common, context)
        if call is not None and call.span.is_recording():
            call.flush()
            call.last = _attempt(record), time.time_ns()

    def _ended(self, record: CallEnded) -> None:
        call = self._calls.end(record.call)
        outcome = _outcome(record, record.code, record.error)
        measured = {**_common(record, record.method), **outcome}
        self._duration.record(record.seconds, measured, None if call is None else call.context)
        if call is None:
            return
        ended = call.began + round(record.seconds * 1e9)
        if call.span.is_recording():
            call.flush(ended - round(record.decode * 1e9))
            call.span.set_attributes({**outcome, **_answered(record)})
            if "error.type" in outcome:
                code = "" if record.code is None else f": {record.code.name}"
                call.span.set_status(self._trace.StatusCode.ERROR, f"{record.error}{code}")
        call.span.end(ended)


class _Call:
    """A call that has started.

    Attributes:
        span: its span.
        context: a context in which this span is the current one.
        began: when it started, in nanoseconds since 1970.
        last: the attributes of an attempt that is not an event yet, and the time of its report.
    """

    __slots__ = ("began", "context", "last", "span")

    def __init__(self, span: Any, context: Any, began: int) -> None:
        self.span = span
        self.context = context
        self.began = began
        self.last: tuple[Attributes, int] | None = None

    def flush(self, latest: int | None = None) -> None:
        """Add the event of the last attempt.

        The last attempt of a call is reported when its reply has been decoded; ``latest`` is when decoding began.
        """
        if self.last is not None:
            attributes, reported = self.last
            self.last = None
            self.span.add_event("tfs_client.attempt", attributes, reported if latest is None else min(reported, latest))


def _global(propagate: bool) -> OpenTelemetry:
    """Make a hook that uses the global providers."""
    return OpenTelemetry(propagate=propagate)


def _common(record: CallRecord, method: str) -> Attributes:
    """The attributes of spans and of metrics: of each, a program has few values."""
    address, port = server_of(record.target)
    found: Attributes = {
        "rpc.system.name": SYSTEMS[record.transport],
        "rpc.method": full_name(method),
        "server.address": address,
    }
    if port is not None:
        found["server.port"] = port
    if record.model:
        found["tfs_client.model.name"] = bounded(record.model, LONGEST)
    return found


def _asked(record: CallStarted) -> Attributes:
    """What is known of a call when it starts."""
    found = _common(record, record.method)
    if record.request_id:
        found["tfs_client.request_id"] = bounded(record.request_id, LONGEST)
    if record.rows is not None:
        found["tfs_client.rows"] = record.rows
    if record.timeout is not None:
        found["tfs_client.timeout"] = record.timeout
    if record.batch is not None:
        found["tfs_client.batch.kind"] = record.batch.kind
        found["tfs_client.batch.examples"] = record.batch.examples
        found["tfs_client.batch.waited"] = record.batch.waited
    return found


def _of_model(record: CallRecord) -> Attributes:
    """What a call asks of its model."""
    if not record.model:
        return {}
    found: Attributes = {"tfs_client.model.signature": bounded(record.signature or "serving_default", LONGEST)}
    if record.version is not None:
        found["tfs_client.model.version"] = record.version
    if record.label is not None:
        found["tfs_client.model.version_label"] = bounded(record.label, LONGEST)
    return found


def _outcome(record: AttemptEnded | CallEnded, code: StatusCode | None, error: str) -> Attributes:
    """How a call or an attempt ended. No texts of errors: they may repeat inputs and tokens."""
    found: Attributes = {}
    if code is not None:
        found["rpc.response.status_code"] = code.name
    if code != StatusCode.OK:
        found["error.type"] = error if code is None else code.name
    if record.transport == "rest":
        status = 200 if code == StatusCode.OK and record.bytes_in else record.http_status
        if status is not None:
            found["http.response.status_code"] = status
    return found


def _attempt(record: AttemptEnded) -> Attributes:
    """The attributes of the event of an attempt."""
    found = {
        "rpc.method": full_name(record.sent),
        **_outcome(record, record.code, ""),
        "tfs_client.attempt.number": record.attempt,
        "tfs_client.attempt.seconds": record.seconds,
        "tfs_client.request.size": record.bytes_out,
        "tfs_client.response.size": record.bytes_in,
    }
    if record.pause is not None:
        found["tfs_client.attempt.pause"] = record.pause
    if record.unreached:
        found["tfs_client.attempt.unreached"] = True
    return found


def _answered(record: CallEnded) -> Attributes:
    """What a span has of the end of a call, besides its outcome."""
    found: Attributes = {
        "tfs_client.attempts": record.attempts,
        "tfs_client.request.size": record.bytes_out,
        "tfs_client.response.size": record.bytes_in,
        "tfs_client.encode.seconds": record.encode,
        "tfs_client.wait.seconds": record.wait,
        "tfs_client.pause.seconds": record.paused,
        "tfs_client.decode.seconds": record.decode,
    }
    if record.answered is not None:
        found["tfs_client.model.answered_version"] = record.answered
    return found


@lru_cache(64)
def server_of(target: str) -> tuple[str, int | None]:
    """The address and the port of a target. Replicas, and targets of other kinds, are one address without a port."""
    address, port = target, None
    if target.startswith(("http://", "https://", "grpc://", "grpcs://")):
        parts = urlsplit(target)
        address, port = parts.hostname or target, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    elif target.startswith("unix:"):
        path = target.removeprefix("unix:")
        address = path.removeprefix("//") if path.startswith("///") else path
    elif "," not in target and not target.startswith(("unix-abstract:", "vsock:", "xds:")):
        host, _, digits = grpc_authority(target).rpartition(":")
        if host and digits.isascii() and digits.isdigit() and len(digits) <= 5:
            address, port = host.strip("[]"), int(digits)
    return bounded(address, LONGEST), port
