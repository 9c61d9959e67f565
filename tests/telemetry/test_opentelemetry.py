"""OpenTelemetry's in-memory exporter and reader show the calls as they were, over all styles of calling."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, calling
from retrying import QUICK, X, client_of, failing, wait_for
from scripted import MODEL, Call, Refusal, serving, target_of

from tfs_client import (
    AsyncPredictClient,
    CallError,
    ConfigError,
    EncodeError,
    MicroBatcher,
    NotFoundError,
    PredictClient,
    StatusCode,
    TensorSpec,
)
from tfs_client.telemetry import OpenTelemetry
from tfs_client.testing import FakeServer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

PREDICT = "tensorflow.serving.PredictionService/Predict"
LOOK_UP = "tensorflow.serving.PredictionService/GetModelMetadata"
TOKEN = "token-3f9c1d7a2b"
SECRET = "metadata-value-77e1"
INPUT = 48151.625


class Telemetry:
    """Providers of one test, their hook, and what they have collected."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    def hook(self, **options) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options)

    def spans(self, number=1):
        """Wait for so many spans of calls, and return them; those of futures end in callbacks."""
        wait_for(lambda: len(self._of_calls()) >= number)
        spans = self._of_calls()
        assert len(spans) == number
        return spans

    def predictions(self, number):
        """The same for calls of Predict, without look-ups."""
        wait_for(lambda: len([span for span in self._of_calls() if span.name == PREDICT]) >= number)
        spans = [span for span in self._of_calls() if span.name == PREDICT]
        assert len(spans) == number
        return spans

    def _of_calls(self):
        return [span for span in self.exporter.get_finished_spans() if span.instrumentation_scope.name == "tfs_client"]

    def points(self):
        """The data points of all metrics, by the metric's name."""
        data = self.reader.get_metrics_data()
        metrics = [one for group in data.resource_metrics for scope in group.scope_metrics for one in scope.metrics]
        return {metric.name: list(metric.data.data_points) for metric in metrics}

    def close(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
def telemetry():
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


def attempts(span, sent=PREDICT):
    return [event for event in span.events if event.attributes["rpc.method"] == sent]


def spans_in(metadata) -> tuple[int, int]:
    """The ids of trace and span in the one ``traceparent`` of a request."""
    _, trace, span, _ = metadata["traceparent"].split("-")
    return int(trace, 16), int(span, 16)


@pytest.mark.parametrize("style", STYLES)
def test_a_retried_call_is_a_span_with_two_attempts(style, telemetry):
    with serving(style, failing(1)) as server:
        with client_of(style, server, hooks=telemetry.hook()) as client:
            before = time.time_ns()
            client.predict({"x": [1.0, 2.0]})
            after = time.time_ns()
        (span,) = telemetry.spans()
        first, second = attempts(span)
        sizes = [call.size for call in server.calls]
        port = server.port
    assert (span.name, span.kind.name, span.status.status_code.name) == (PREDICT, "CLIENT", "UNSET")
    assert before <= span.start_time <= first.timestamp <= second.timestamp <= span.end_time <= after
    assert span.start_time + first.attributes["tfs_client.attempt.pause"] * 1e9 <= second.timestamp
    assert [event.attributes["tfs_client.attempt.number"] for event in (first, second)] == [1, 2]
    assert [event.attributes["rpc.response.status_code"] for event in (first, second)] == ["UNAVAILABLE", "OK"]
    assert [event.attributes["tfs_client.request.size"] for event in (first, second)] == sizes
    assert "tfs_client.attempt.pause" not in second.attributes
    assert first.attributes["error.type"] == "UNAVAILABLE"
    found = dict(span.attributes)
    expected = {
        "rpc.system.name": "tensorflow_serving_rest" if style in REST else "grpc",
        "rpc.method": PREDICT,
        "rpc.response.status_code": "OK",
        "server.address": "localhost",
        "server.port": port,
        "tfs_client.model.name": MODEL,
        "tfs_client.model.signature": "serving_default",
        "tfs_client.rows": 2,
        "tfs_client.attempts": 2,
    }
    expected |= {"http.response.status_code": 200} if style in REST else {"tfs_client.model.answered_version": 1}
    assert {name: found.get(name) for name in expected} == expected
    assert "error.type" not in found
    if style in REST:
        assert first.attributes["http.response.status_code"] == 503
        assert len(attempts(span, LOOK_UP)) == 1


@pytest.mark.parametrize("style", STYLES)
def test_metrics_of_a_retried_call(style, telemetry):
    with serving(style, failing(1)) as server:
        with client_of(style, server, hooks=telemetry.hook()) as client:
            client.predict(X)
        (span,) = telemetry.spans()
        sizes = [call.size for call in server.calls]
    points = telemetry.points()
    (duration,) = points["rpc.client.call.duration"]
    assert duration.count == 1
    assert duration.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-6)
    assert duration.explicit_bounds[0] == 0.005
    assert duration.attributes["rpc.method"] == PREDICT
    sent = {
        point.attributes["rpc.response.status_code"]: point.value
        for point in points["tfs_client.attempts"]
        if point.attributes["rpc.method"] == PREDICT
    }
    assert sent == {"UNAVAILABLE": 1, "OK": 1}
    out = [point.sum for point in points["tfs_client.request.size"] if point.attributes["rpc.method"] == PREDICT]
    assert sum(out) == sum(sizes)
    allowed = {
        "error.type",
        "http.response.status_code",
        "rpc.method",
        "rpc.response.status_code",
        "rpc.system.name",
        "server.address",
        "server.port",
        "tfs_client.model.name",
    }
    assert {name for found in points.values() for point in found for name in point.attributes} <= allowed


@pytest.mark.parametrize("style", STYLES)
def test_a_failed_call_has_the_status_error_and_no_text_of_the_server(style, telemetry):
    with (
        serving(style, failing(9, StatusCode.INVALID_ARGUMENT, details=f"bad {SECRET}")) as server,
        client_of(style, server, hooks=telemetry.hook()) as client,
        pytest.raises(CallError, match=SECRET),
    ):
        client.predict(X)
    (span,) = telemetry.spans()
    assert span.status.status_code.name == "ERROR"
    assert span.status.description == "InvalidArgumentError: INVALID_ARGUMENT"
    assert span.attributes["error.type"] == span.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert span.attributes.get("http.response.status_code") == (400 if style in REST else None)
    (duration,) = telemetry.points()["rpc.client.call.duration"]
    assert duration.attributes["error.type"] == "INVALID_ARGUMENT"
    assert SECRET not in span.to_json()


def test_a_call_that_is_never_sent_has_an_error_without_a_code(telemetry):
    with (
        PredictClient("localhost:1", model="m", validate=False, hooks=telemetry.hook()) as client,
        pytest.raises(EncodeError),
    ):
        client.predict({"x": object()})
    (span,) = telemetry.spans()
    assert span.attributes["error.type"] == span.status.description == "EncodeError"
    assert "rpc.response.status_code" not in span.attributes
    assert span.events == ()


# --- context -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_the_server_gets_the_span_of_the_call_and_callers_keep_theirs(style, telemetry):
    from opentelemetry import trace

    with serving(style, failing(1)) as server:
        with client_of(style, server, hooks=telemetry.hook()) as client:
            if style.endswith("aio"):  # the task of the call has the context in which it was made
                parent = None
                client.predict(X)
            else:
                with telemetry.tracer.start_as_current_span("caller") as caller:
                    parent = caller.get_span_context()
                    client.predict(X)
                    assert trace.get_current_span() is caller
            assert not trace.get_current_span().get_span_context().is_valid
        (span,) = telemetry.spans()
        seen = {spans_in(call.metadata) for call in server.calls}
    assert seen == {(span.context.trace_id, span.context.span_id)}
    assert (span.parent and span.parent.span_id) == (parent and parent.span_id)


@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
def test_calls_of_tasks_are_children_of_the_spans_of_their_tasks(style, telemetry):
    from opentelemetry import trace

    async def call(client, number):
        with telemetry.tracer.start_as_current_span(f"caller {number}") as caller:
            await client.predict({"x": [1.0] * number})
            assert trace.get_current_span() is caller
        return caller.get_span_context().span_id

    hook = telemetry.hook()

    async def all_calls(target):
        async with AsyncPredictClient(target, model=MODEL, timeout=20, retry=QUICK, hooks=hook) as client:
            return await asyncio.gather(*(call(client, number) for number in range(1, 6)))

    with serving(style, failing(2)) as server:
        callers = asyncio.run(all_calls(target_of(style, server.port)))
    found = {span.attributes["tfs_client.rows"]: span.parent.span_id for span in telemetry.spans(5)}
    assert [found[number] for number in range(1, 6)] == callers


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_no_headers_without_propagation_and_own_headers_stay(style, telemetry):
    with serving(style) as server:
        with client_of(style, server, hooks=telemetry.hook(propagate=False)) as client:
            client.predict(X)
        assert "traceparent" not in server.calls[0].metadata
        own = {"traceparent": f"00-{1:032x}-{2:016x}-01"}
        with client_of(style, server, hooks=telemetry.hook(), metadata=own) as client:
            client.predict(X)
        assert spans_in(server.calls[1].metadata) == (1, 2)
    telemetry.spans(2)


@pytest.fixture
def instrumentation(telemetry):
    """The interceptors with which OpenTelemetry instruments a style's calls; httpx is instrumented as a whole."""
    from opentelemetry.instrumentation.grpc import aio_client_interceptors, client_interceptor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    def of(style):
        if style in REST:
            return ()
        provider = telemetry.tracer_provider
        return aio_client_interceptors(provider) if style.endswith("aio") else [client_interceptor(provider)]

    HTTPXClientInstrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    yield of
    HTTPXClientInstrumentor().uninstrument()


@pytest.mark.parametrize("style", STYLES)
def test_with_an_instrumented_transport_the_server_continues_its_span(style, telemetry, instrumentation):
    options = {"hooks": telemetry.hook(), "interceptors": instrumentation(style)}
    with serving(style) as server:
        with client_of(style, server, **options) as client, telemetry.tracer.start_as_current_span("caller") as caller:
            client.predict(X)
        (span,) = telemetry.spans()
        seen = spans_in(server.calls[0].metadata)  # fails for two headers, which the scripted server would join

    def of_transport():
        found = telemetry.exporter.get_finished_spans()
        return {(one.context.trace_id, one.context.span_id) for one in found} - {
            (span.context.trace_id, span.context.span_id)
        }

    wait_for(lambda: seen in of_transport())
    if not style.endswith("aio"):  # their task has no span of a caller, so both spans are roots
        assert seen[0] == span.context.trace_id == caller.get_span_context().trace_id


# --- batches -----------------------------------------------------------------------------------------------------


@pytest.fixture
def doubling():
    vector = TensorSpec("float32", (None,))
    with FakeServer() as server:
        yield server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})


def test_requests_of_a_micro_batcher_are_roots_of_traces(doubling, telemetry):
    with (
        PredictClient(doubling.target, model="double", timeout=20, hooks=telemetry.hook()) as client,
        MicroBatcher(client, max_batch_size=2, max_delay=5) as batcher,
        telemetry.tracer.start_as_current_span("caller"),
    ):
        futures = [batcher.submit({"x": np.float32(n)}) for n in range(2)]
        assert [future.result(20)["y"] for future in futures] == [0, 2]
    (span,) = telemetry.predictions(1)
    assert span.parent is None
    assert span.attributes["tfs_client.batch.kind"] == "micro"
    assert span.attributes["tfs_client.batch.examples"] == 2
    (call,) = [call for call in doubling.calls if call.method == "Predict"]
    assert spans_in(call.metadata) == (span.context.trace_id, span.context.span_id)


@pytest.mark.parametrize("style", ["grpc", "rest", "grpc-aio", "rest-aio"])
def test_requests_of_predict_batched_are_spans(style, doubling, telemetry):
    with calling(style, doubling, model="double", timeout=20, hooks=telemetry.hook()) as client:
        client.predict_batched({"x": np.float32([1, 2, 3, 4])}, batch_size=2)
    predictions = telemetry.predictions(2)
    assert [span.attributes["tfs_client.batch.kind"] for span in predictions] == ["predict_batched"] * 2
    assert [span.attributes["tfs_client.batch.examples"] for span in predictions] == [2, 2]


# --- secrets, pickling, processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_no_span_and_no_metric_has_inputs_tokens_and_metadata(style, telemetry):
    def echoing(call: Call) -> None:
        if call.number == 1:
            raise Refusal(StatusCode.UNAVAILABLE, f"{call.metadata} {call.body!r}")
        raise Refusal(StatusCode.INVALID_ARGUMENT, f"{call.metadata} {call.body!r} {INPUT}")

    with serving(style, echoing) as server:
        options = {"token": TOKEN, "metadata": {"x-api-key": SECRET}, "hooks": telemetry.hook()}
        if style in GRPC:
            options |= {"tls": False}
        with client_of(style, server, **options) as client, pytest.raises(CallError) as caught:
            client.predict({"x": [INPUT]})
    assert TOKEN in str(caught.value)  # or the test would not show anything
    (span,) = telemetry.spans()
    text = span.to_json() + str(telemetry.points())
    assert "INVALID_ARGUMENT" in text
    for secret in (TOKEN, SECRET, str(INPUT)):
        assert secret not in text


@pytest.mark.parametrize("options", [{"tracer_provider": 5}, {"meter_provider": "x"}, {"propagate": "no"}])
def test_arguments_of_other_types_are_refused(options):
    (name,) = options
    with pytest.raises(ConfigError, match=f"expected {name}"):
        OpenTelemetry(**options)


def test_a_hook_with_the_global_providers_can_be_pickled(telemetry):
    copy = pickle.loads(pickle.dumps(OpenTelemetry(propagate=False)))
    assert repr(copy) == "OpenTelemetry(propagate=False)"
    with pytest.raises(ConfigError, match="tracer_provider and meter_provider cannot be pickled"):
        pickle.dumps(telemetry.hook())


def test_ended_calls_leave_nothing_behind(doubling, telemetry):
    hook = telemetry.hook()
    with PredictClient(doubling.target, model="double", timeout=20, hooks=hook) as client:
        futures = [client.predict_future(X) for _ in range(20)]
        assert [future.result(20).array for future in futures] == [[2.0]] * 20
        with pytest.raises(NotFoundError):
            client.predict(X, model="nobody")
        telemetry.spans(21)
    assert len(hook._calls) == 0


# Over REST: in a process that is forked while grpc starts a call, grpc itself may fail.
FORKING = """
import os, sys
import numpy as np
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tfs_client import PredictClient
from tfs_client.telemetry import OpenTelemetry

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
hook = OpenTelemetry(tracer_provider=provider)
client = PredictClient(sys.argv[1], model="slow", timeout=30, hooks=hook)
future = client.predict_future({"x": np.float32([7, 7])})
child = os.fork()
if child == 0:
    assert len(hook._calls) == 0
    client.predict({"x": np.float32([1])})
    rows = [span.attributes["tfs_client.rows"] for span in exporter.get_finished_spans()]
    assert rows == [1] and len(hook._calls) == 0, rows
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(hook._calls) == 1
print("forked", flush=True)
future.result(30)
client.close()
assert len(hook._calls) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_keep_the_calls_of_its_parent(gated_seven):
    server, gate = gated_seven
    root = str(Path(__file__).parents[2])
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKING, server.rest_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        line = program.stdout.readline()
        gate.set()
        _, errors = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (line, program.returncode) == ("forked\n", 0), errors


@pytest.fixture
def gated_seven():
    """A server whose model waits for the returned event if the first number is 7."""
    gate = threading.Event()

    def slow(x):
        if x[0] == 7:
            gate.wait(60)
        return x

    vector = TensorSpec("float32", (None,))
    with FakeServer() as server:
        yield server.add_model("slow", slow, inputs={"x": vector}, outputs={"y": vector}), gate
        gate.set()
