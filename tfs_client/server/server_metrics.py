"""ServerMetrics: what the server counts, under TensorFlow Serving's names (servables/tensorflow/util.cc and others)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfs_client.errors import StatusCode
from tfs_client.server.call_record import ServedCall
from tfs_client.server.metric_types import Counter, Gauge, Histogram, Metric, page

if TYPE_CHECKING:
    from tfs_client.server.batching import BatchRun

LATENCY = [10 * 1.8**power for power in range(33)]  # microseconds
QUEUING = [100 * 1.2**power for power in range(52)]  # microseconds
EXAMPLES = [2.0**power for power in range(15)]
SIZES = [2.0**power for power in range(14)]

MAX_UNKNOWN_MODELS = 100  # names of unknown models with series; all further ones share one series without a name
MAX_UNKNOWN_NAME = 200  # characters of such a name

COUNTED = {"Predict": "predict", "Classify": "classify", "Regress": "regress"}  # the names that REST uses


class ServerMetrics:
    """The metrics of one server. Its methods may be called from any thread."""

    def __init__(self) -> None:
        serving = "/tensorflow/serving"
        batching = f"{serving}/batching_session"
        self.requests: Counter = Counter(f"{serving}/request_count", ("model_name", "status"))
        self.latency: Histogram = Histogram(f"{serving}/request_latency", ("model_name", "API", "entrypoint"), LATENCY)
        self.runtime: Histogram = Histogram(f"{serving}/runtime_latency", ("model_name", "API", "runtime"), LATENCY)
        self.example_counts: Histogram = Histogram(f"{serving}/request_example_counts", ("model",), EXAMPLES)
        self.example_total: Counter = Counter(f"{serving}/request_example_count_total", ("model",))
        # No requests are logged.
        self.logs: Counter = Counter(f"{serving}/request_log_count", ("model_name", "status_code"))
        self.warmup: Histogram = Histogram(f"{serving}/model_warmup_latency", ("model_path", "status"), LATENCY)
        self.warmup_records: Counter = Counter(f"{serving}/model_warmup_records_read", ("model_path", "status"))
        self.metadata: Gauge = Gauge(f"{serving}/mlmd_map", ("model_name", "version"))  # no flag sets it
        self.queuing: Histogram = Histogram(f"{batching}/queuing_latency", ("thread_pool_name",), QUEUING)
        self.batches: Counter = Counter(f"{batching}/wrapped_run_count")
        self.padding: Histogram = Histogram(f"{batching}/padding_size", ("execution_batch_size",), SIZES)
        self.input_sizes: Histogram = Histogram(f"{batching}/input_batch_size", (), SIZES)
        self.processed_sizes: Histogram = Histogram(f"{batching}/processed_batch_size", (), SIZES)
        self.loads: Counter = Counter("/tensorflow/cc/saved_model/load_attempt_count", ("model_path", "status"))
        self._known: set[str] = set()
        self._unknown: set[str] = set()

    @property
    def all(self) -> tuple[Metric, ...]:
        """All metrics, in the order of the page."""
        return tuple(metric for metric in vars(self).values() if isinstance(metric, Metric))

    def page(self) -> str:
        """The metrics page."""
        return page(self.all)

    def ended(self, call: ServedCall) -> None:
        """Count a call that has ended. Over gRPC only inference is counted, over REST every call."""
        if call.run_seconds is not None:
            self.ran(call.model, call.method, call.run_seconds)
            if call.method == "MultiInference":
                self.example_counts.add(call.examples, call.model)
                self.example_total.add(call.model, by=call.examples)
        rest = call.transport == "rest"
        if call.method not in COUNTED and not rest:
            return
        self.requests.add(self._counted_as(call), call.code.name)
        if call.code is StatusCode.OK:
            api = COUNTED.get(call.method, "") if rest else call.method
            self.latency.add(call.seconds * 1e6, call.model, api, "REST" if rest else "GRPC")

    def _counted_as(self, call: ServedCall) -> str:
        """The name to count under: the model's, or "" beyond the limit of unknown names, which cost memory."""
        name = call.model
        if name in self._known:
            return name
        if call.version is not None or call.code is StatusCode.OK:
            self._known.add(name)
            self._unknown.discard(name)
            return name
        if name in self._unknown:
            return name
        if len(self._unknown) >= MAX_UNKNOWN_MODELS or len(name) > MAX_UNKNOWN_NAME or not name.isprintable():
            return ""
        self._unknown.add(name)
        return name

    def ran(self, model: str, method: str, seconds: float) -> None:
        """Count a run of a model for a call of this method."""
        self.runtime.add(seconds * 1e6, model, method, "TF1")

    def warmed_up(self, path: str, status: str, records: int, seconds: float) -> None:
        """Count a warmup file that has been read to its end, or up to a corrupt record."""
        self.warmup.add(seconds * 1e6, path, status)
        self.warmup_records.add(path, status, by=records)

    def batched(self, run: BatchRun) -> None:
        """Count a batch that has left its queue. It has run unless the deadlines of all its calls have passed."""
        for waited in run.waited:
            self.queuing.add(waited * 1e6, "")  # the model server leaves the name of its threads empty
        if not run.executed:
            return
        self.batches.add()
        self.padding.add(run.executed - sum(run.sizes), str(run.executed))
        self.processed_sizes.add(run.executed)
        for size in run.sizes:
            for _ in range(run.tensors):
                self.input_sizes.add(size)

    def loaded(self, path: str, succeeded: bool) -> None:
        """Count an attempt to load a version directory."""
        self.loads.add(path, "success" if succeeded else "fail")

    def values(self, names: Iterable[str]) -> dict[str, int]:
        """The first series of each metric, as a reload reports it; 0 for unknown names (model_service_impl.cc)."""
        known = {metric.name: metric for metric in self.all}
        return {name: known[name].first() if name in known else 0 for name in names}
