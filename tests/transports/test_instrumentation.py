"""Programs whose gRPC and httpx are instrumented: OpenTelemetry, Sentry, Datadog, Prometheus.

Limits of the libraries: py-grpc-prometheus has interceptors for blocking calls alone, and they make a future
wait for its answer. Sentry gives metadata to the calls of futures and counts them as done at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from calling import GRPC, STYLES, calling

from tfs_client import ConfigError, NotFoundError, TensorSpec
from tfs_client.testing import FakeServer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

VECTOR = TensorSpec("float32", (None,))
X = {"x": np.float32([1])}
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


def metadata(server):
    return [call.metadata for call in server.calls if call.method == "Predict"]


# --- OpenTelemetry -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exporter():
    """What the tracers of this process have exported; a provider can be set once."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture(autouse=True)
def no_spans(request):
    if "exporter" in request.fixturenames:
        request.getfixturevalue("exporter").clear()


def traced(server, style, client, exporter):
    """Make a call that succeeds and one that fails; a span for each, whose ids the server has seen."""
    assert client.predict(X).array.tolist() == [2]
    sent = 1 if style in GRPC else 2  # over REST the signatures are asked for too
    # A span may end after its answer is there, so it is looked for by what the server has seen of it.
    parents = {one["traceparent"].rpartition("-")[0] for one in metadata(server)}
    assert parents <= {f"00-{s.context.trace_id:032x}-{s.context.span_id:016x}" for s in ended(exporter, sent)}
    assert all(span.status.is_unset for span in ended(exporter, sent))
    with pytest.raises(NotFoundError):
        client.predict(X, model="nobody")
    failed = ended(exporter, sent + 1)[sent]
    assert not failed.status.is_ok
    assert not failed.status.is_unset
    if style in GRPC:
        assert (failed.name, failed.attributes["rpc.grpc.status_code"]) == (PREDICT, 5)


def ended(exporter, number):
    """Wait for so many spans and return them; those of futures end in a separate callback."""
    until = time.monotonic() + 30
    while len(exporter.get_finished_spans()) < number:
        assert time.monotonic() < until, exporter.get_finished_spans()
        time.sleep(0.01)
    return exporter.get_finished_spans()


@pytest.mark.parametrize("style", STYLES)
def test_instrumented_by_opentelemetry(server, style, exporter):
    from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    instrumentors = GrpcInstrumentorClient(), GrpcAioInstrumentorClient(), HTTPXClientInstrumentor()
    for one in instrumentors:
        one.instrument()
    try:
        with calling(style, server, model="m", timeout=60) as client:
            traced(server, style, client, exporter)
    finally:
        for one in instrumentors:
            one.uninstrument()


@pytest.mark.parametrize("style", GRPC)
def test_interceptors_of_opentelemetry(server, style, exporter):
    from opentelemetry.instrumentation.grpc import aio_client_interceptors, client_interceptor

    own = aio_client_interceptors() if style.endswith("aio") else [client_interceptor()]
    with calling(style, server, model="m", timeout=60, interceptors=own) as client:
        traced(server, style, client, exporter)


def test_interceptors_of_opentelemetry_for_blocking_calls_are_refused_for_asyncio(server):
    from opentelemetry.instrumentation.grpc import client_interceptor

    with (
        pytest.raises(ConfigError, match="aio_client_interceptors"),
        calling("grpc-aio", server, interceptors=[client_interceptor()]),
    ):
        pass


# --- Sentry and Datadog, which stay once they are there ----------------------------------------------------------


def instrumented(library: str, style: str) -> dict:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here.parent.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(here / "instrumented.py"), library, style],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict = json.loads(ran.stdout.splitlines()[-1])
    assert found["answer"] == [2.0]
    assert "nobody" in found["error"]
    return found


@pytest.mark.parametrize("style", STYLES)
def test_instrumented_by_sentry(style):
    assert "sentry-trace" in instrumented("sentry", style)["metadata"]


@pytest.mark.parametrize("style", STYLES)
def test_instrumented_by_datadog(style):
    pytest.importorskip("ddtrace")
    found = instrumented("ddtrace", style)
    assert "x-datadog-trace-id" in found["metadata"]


# --- Prometheus --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["grpc", "grpc-futures"])
def test_interceptors_of_py_grpc_prometheus(server, style):
    from prometheus_client import CollectorRegistry
    from py_grpc_prometheus.prometheus_client_interceptor import PromClientInterceptor

    registry = CollectorRegistry()
    own = [PromClientInterceptor(registry=registry)]
    with calling(style, server, model="m", timeout=60, interceptors=own) as client:
        assert client.predict(X).array.tolist() == [2]
        with pytest.raises(NotFoundError):
            client.predict(X, model="nobody")

    def handled(code):
        labels = {"grpc_service": PREDICT.split("/")[1], "grpc_method": "Predict", "grpc_code": code}
        return registry.get_sample_value("grpc_client_handled_total", {**labels, "grpc_type": "UNARY"})

    assert (handled("OK"), handled("NOT_FOUND")) == (1, 1)
