"""Prometheus: counters and histograms of calls."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_client._printable import bounded, shown
from tfs_client.errors import ConfigError
from tfs_client.options import checked_kind
from tfs_client.telemetry.calls_under_way import CallsUnderWay
from tfs_client.telemetry.records import AttemptEnded, Batch, CallEnded, CallRecord, CallStarted

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
WAITS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds
EXAMPLES = tuple(2.0**power for power in range(11))  # up to 1024
LONGEST = 256  # bytes of a label's value
CALL = ("method", "model", "transport")

_making = threading.Lock()
# The collectors of a registry do not refer to it, so a registry that nobody uses is freed, and they with it.
_made: weakref.WeakKeyDictionary[CollectorRegistry, _Collectors] = weakref.WeakKeyDictionary()


class Prometheus:
    """A hook that counts and measures calls with prometheus-client.

    ::

        client = PredictClient("localhost:8500", model="m", hooks=Prometheus())
        prometheus_client.start_http_server(9100)

    Hooks with the same registry share its metrics, so each client may have its own hook. The metrics are listed in
    docs/observability.md. Each model name becomes a value of the label ``model``, and its series stay until the program
    ends. Check names that come from outside before you call the client with them.

    Multiprocess mode (``PROMETHEUS_MULTIPROC_DIR``) works, even if the client is created before the fork. Calls in
    flight are summed over live processes.
    The hook can be pickled with its client if it uses the default registry; the copy uses that of its process.

    Args:
        registry: registry for the metrics; None for ``prometheus_client.REGISTRY``.
        buckets: the upper bounds of the buckets of the duration of calls, in seconds.

    Raises ConfigError without the package prometheus-client, for what is no registry, for buckets that are not numbers
    or do not increase, and if the registry has such metrics already: those of a hook with other buckets, or of other
    code.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, buckets: Sequence[float] = BUCKETS) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise ConfigError(
                f"Prometheus needs the package prometheus-client ({error}): pip install 'tfs-client[metrics]'"
            ) from None
        checked_kind("registry", registry, prometheus_client.CollectorRegistry)
        self._custom = registry is not None
        try:
            self._buckets = tuple(map(float, buckets))
        except (TypeError, ValueError):
            raise ConfigError(f"expected buckets as numbers that increase, got {shown(buckets)}") from None
        if not self._buckets or any(
            first >= second for first, second in zip(self._buckets, self._buckets[1:], strict=False)
        ):
            raise ConfigError(f"expected buckets as numbers that increase, got {buckets!r}")
        used = prometheus_client.REGISTRY if registry is None else registry
        with _making:
            if (made := _made.get(used)) is None:
                made = _made[used] = _Collectors(used, self._buckets)
            if made.buckets != self._buckets:
                raise ConfigError(
                    f"expected buckets={made.buckets}, as another hook of this registry has them, got {self._buckets}: "
                    "pass the same buckets, or another registry="
                )
            made.register_in(used)
        self._collectors = made
        self._calls: CallsUnderWay[Any] = CallsUnderWay()
        made.under_way.add(self._calls)

    def __repr__(self) -> str:
        return "Prometheus()"

    def __reduce__(self) -> tuple[object, ...]:
        if self._custom:
            raise ConfigError(
                "Prometheus with registry= cannot be pickled: use the default registry, which each process has for "
                "itself, and leave the argument out"
            )
        return partial(Prometheus, buckets=self._buckets), ()

    def __call__(self, record: CallRecord) -> None:
        """Receive a record."""
        if isinstance(record, CallStarted):
            self._started(record)
        elif isinstance(record, AttemptEnded):
            labels = _labels(record, record.sent)
            self._collectors.attempts.labels(*labels, record.code.name).inc()
            self._collectors.sent.labels(*labels).inc(record.bytes_out)
            self._collectors.received.labels(*labels).inc(record.bytes_in)
        elif isinstance(record, CallEnded):
            self._ended(record)

    def _started(self, record: CallStarted) -> None:
        in_flight = self._collectors.in_flight.labels(*_labels(record, record.method))
        in_flight.inc()
        forgotten = self._calls.begin(record.call, in_flight)
        if forgotten is not None:
            forgotten.dec()
        if record.batch is not None:
            self._batched(record.batch, _labels(record, record.method))

    def _batched(self, batch: Batch, labels: tuple[str, str, str]) -> None:
        _, model, transport = labels
        self._collectors.batch_examples.labels(batch.kind, model, transport).observe(batch.examples)
        self._collectors.batch_wait.labels(batch.kind, model, transport).observe(batch.waited)

    def _ended(self, record: CallEnded) -> None:
        in_flight = self._calls.end(record.call)
        if in_flight is not None:
            in_flight.dec()
        code = record.error if record.code is None else record.code.name
        labels = (*_labels(record, record.method), code)
        self._collectors.calls.labels(*labels).inc()
        self._collectors.duration.labels(*labels).observe(record.seconds)


class _Collectors:
    """The metrics of one registry.

    Attributes:
        buckets: of the duration of calls.
        under_way: the calls that each hook of the registry has begun.
    """

    def __init__(self, registry: CollectorRegistry, buckets: tuple[float, ...]) -> None:
        from prometheus_client import Counter, Gauge, Histogram, values

        # In multiprocess mode the values of a forked process begin at 0; otherwise it has copies of the parent's.
        copies = values.ValueClass is values.MutexValue
        self.buckets = buckets
        self.under_way: weakref.WeakSet[CallsUnderWay[Any]] = weakref.WeakSet()
        self._added: list[Any] = []
        added, under_way = self._added, self.under_way

        class InFlight(Gauge):  # type: ignore[misc]  # a forked process corrects it before it reports it
            # Not right after the fork: another thread of the parent may have held the lock of a value.

            def collect(self) -> Any:
                for calls in list(under_way):
                    _drop_inherited(calls, copies=copies)
                return super().collect()

        def metric(kind: Any, name: str, text: str, labels: Sequence[str], **options: Any) -> Any:
            added.append(kind(name, text, labels, registry=registry, **options))
            return added[-1]

        try:
            self.calls = metric(Counter, "tfs_client_calls_total", "Calls that have ended.", (*CALL, "code"))
            self.duration = metric(
                Histogram,
                "tfs_client_call_duration_seconds",
                "Duration of calls, with all attempts and pauses.",
                (*CALL, "code"),
                buckets=buckets,
            )
            self.attempts = metric(Counter, "tfs_client_attempts_total", "Requests sent.", (*CALL, "code"))
            self.sent = metric(Counter, "tfs_client_sent_bytes_total", "Bytes of requests before compression.", CALL)
            self.received = metric(Counter, "tfs_client_received_bytes_total", "Bytes of inflated replies.", CALL)
            self.in_flight = metric(
                InFlight,
                "tfs_client_calls_in_flight",
                "Calls that have started and not ended.",
                CALL,
                multiprocess_mode="livesum",
            )
            of_batches = ("kind", "model", "transport")
            self.batch_examples = metric(
                Histogram, "tfs_client_batch_examples", "Examples in a request.", of_batches, buckets=EXAMPLES
            )
            self.batch_wait = metric(
                Histogram,
                "tfs_client_batch_wait_seconds",
                "Time that the oldest example of a request waited to be sent.",
                of_batches,
                buckets=WAITS,
            )
        except ValueError as error:
            for collector in added:
                registry.unregister(collector)
            raise ConfigError(
                f"expected a registry without other metrics of tfs_client: {error}; pass another registry="
            ) from None

    def register_in(self, registry: CollectorRegistry) -> None:
        """Register the metrics again that were unregistered, as tests do between each other: their counts go on."""
        for collector in self._added:
            with suppress(ValueError):  # it is registered
                registry.register(collector)


def _drop_inherited(calls: CallsUnderWay[Any], *, copies: bool) -> None:
    """In a forked process: calls of the parent are not in flight here; ``copies``: their counts were copied."""
    while calls.inherited:
        try:
            in_flight = calls.inherited.pop()
        except IndexError:  # another thread took it
            return
        if copies:
            in_flight.dec()


def _labels(record: CallRecord, method: str) -> tuple[str, str, str]:
    return method, bounded(record.model, LONGEST), record.transport
