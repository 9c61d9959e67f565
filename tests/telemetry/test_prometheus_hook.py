"""The page that Prometheus scrapes shows the calls as they were, over all styles of calling."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from calling import GRPC, STYLES, calling
from retrying import X, client_of, failing, wait_for
from scripted import MODEL, Call, Refusal, serving

from tfs_client import (
    CallError,
    ConfigError,
    EncodeError,
    MicroBatcher,
    NotFoundError,
    PredictClient,
    StatusCode,
    TensorSpec,
)
from tfs_client.telemetry import CallStarted, Prometheus
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer

TOKEN = "token-3f9c1d7a2b"
SECRET = "metadata-value-77e1"
INPUT = 48151.625
STARTED = CallStarted(
    call=-1,
    method="Predict",
    model="m",
    version=None,
    label=None,
    signature="",
    transport="grpc",
    target="t",
    rows=None,
    request_id="",
    batch=None,
    timeout=None,
)


@pytest.fixture
def registry():
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


@contextlib.contextmanager
def page_of(registry):
    """A function that scrapes the page which prometheus_client serves."""
    from prometheus_client import start_http_server

    server, thread = start_http_server(0, "127.0.0.1", registry)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def scraped():
        with opener.open(f"http://127.0.0.1:{server.server_port}/metrics", timeout=20) as reply:
            return reply.read().decode()

    try:
        yield scraped
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def samples(text):
    """The values of a page by name and labels, as the official parser reads them."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((f"tfs_client_{name}", tuple(sorted(labels.items()))))


@pytest.mark.parametrize("style", STYLES)
def test_the_scraped_page_shows_a_retried_call_with_two_attempts(style, registry):
    with serving(style, failing(1)) as server, page_of(registry) as scraped:
        with client_of(style, server, hooks=Prometheus(registry)) as client:
            client.predict(X)
        wait_for(lambda: "tfs_client_calls_total{" in scraped())  # futures have their result before the last record
        found = samples(scraped())
        sizes = [call.size for call in server.calls]
    of_call = {"method": "Predict", "model": MODEL, "transport": "rest" if style.startswith("rest") else "grpc"}
    assert value(found, "calls_total", **of_call, code="OK") == 1
    assert value(found, "attempts_total", **of_call, code="UNAVAILABLE") == 1
    assert value(found, "attempts_total", **of_call, code="OK") == 1
    assert value(found, "call_duration_seconds_count", **of_call, code="OK") == 1
    assert 0.005 < value(found, "call_duration_seconds_sum", **of_call, code="OK") < 20
    assert value(found, "call_duration_seconds_bucket", **of_call, code="OK", le="+Inf") == 1
    assert value(found, "sent_bytes_total", **of_call) == sum(sizes)
    assert value(found, "received_bytes_total", **of_call) > 0
    assert value(found, "calls_in_flight", **of_call) == 0
    look_ups = value(found, "attempts_total", **{**of_call, "method": "GetModelMetadata"}, code="OK")
    assert look_ups == (1 if style.startswith("rest") else None)


@pytest.mark.parametrize("style", STYLES)
def test_failed_calls_are_counted_by_code(style, registry):
    script = failing(9, StatusCode.INVALID_ARGUMENT)
    with serving(style, script) as server, client_of(style, server, hooks=Prometheus(registry)) as client:
        for _ in range(2):
            with pytest.raises(CallError):
                client.predict(X)
    labels = {"method": "Predict", "model": MODEL, "transport": "rest" if style.startswith("rest") else "grpc"}

    def counted(code):
        return registry.get_sample_value("tfs_client_calls_total", {**labels, "code": code})

    wait_for(lambda: counted("INVALID_ARGUMENT") == 2)
    wait_for(lambda: registry.get_sample_value("tfs_client_calls_in_flight", labels) == 0)


def test_calls_without_a_code_have_the_name_of_their_error(registry):
    with PredictClient("127.0.0.1:9", model="m", hooks=Prometheus(registry)) as client, pytest.raises(EncodeError):
        client.predict({"x": object()})
    labels = {"method": "Predict", "model": "m", "transport": "grpc", "code": "EncodeError"}
    assert registry.get_sample_value("tfs_client_calls_total", labels) == 1


@pytest.fixture
def doubling():
    vector = TensorSpec("float32", (None,))
    with FakeServer() as server:
        yield server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})


def test_sizes_and_waits_of_micro_batches(doubling, registry):
    with (
        PredictClient(doubling.target, model="double", timeout=20, hooks=Prometheus(registry)) as client,
        MicroBatcher(client, max_batch_size=2, max_delay=5) as batcher,
    ):
        futures = [batcher.submit({"x": np.float32(n)}) for n in range(4)]
        assert [future.result(20)["y"] for future in futures] == [0, 2, 4, 6]
    labels = {"kind": "micro", "model": "double", "transport": "grpc"}
    assert registry.get_sample_value("tfs_client_batch_examples_count", labels) == 2
    assert registry.get_sample_value("tfs_client_batch_examples_sum", labels) == 4
    assert registry.get_sample_value("tfs_client_batch_wait_seconds_count", labels) == 2
    assert registry.get_sample_value("tfs_client_batch_wait_seconds_sum", labels) < 5


@pytest.mark.parametrize("style", STYLES)
def test_calls_in_flight(style, registry, gated, gate):
    labels = {"method": "Predict", "model": "slow", "transport": "grpc" if style in GRPC else "rest"}

    def in_flight():
        return registry.get_sample_value("tfs_client_calls_in_flight", labels)

    with calling(style, gated, model="slow", timeout=30, hooks=Prometheus(registry)) as client:
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(client.predict, X) for _ in range(2)]
            wait_for(lambda: in_flight() == 2)
            gate.open.set()
            assert [call.result(30).array.tolist() for call in calls] == [[1.0], [1.0]]
        wait_for(lambda: in_flight() == 0)


# --- registries --------------------------------------------------------------------------------------------------


def test_hooks_of_one_registry_share_its_metrics(doubling, registry):
    for _ in range(2):
        with PredictClient(doubling.target, model="double", timeout=20, hooks=Prometheus(registry)) as client:
            client.predict(X)
    labels = {"method": "Predict", "model": "double", "transport": "grpc", "code": "OK"}
    assert registry.get_sample_value("tfs_client_calls_total", labels) == 2


def test_other_buckets_and_metrics_of_others_are_refused(registry):
    from prometheus_client import CollectorRegistry, Counter

    Prometheus(registry, buckets=(1, 2))
    with pytest.raises(ConfigError, match=r"expected buckets=\(1\.0, 2\.0\).*: pass the same buckets"):
        Prometheus(registry)
    for buckets in ((2, 1), (), 5, "fast", ["fast"], None):
        with pytest.raises(ConfigError, match="numbers that increase"):
            Prometheus(registry, buckets=buckets)
    with pytest.raises(ConfigError, match=r"expected registry=CollectorRegistry\(\.\.\.\), got 9100"):
        Prometheus(9100)
    taken = CollectorRegistry()
    Counter("tfs_client_attempts", "of somebody else", registry=taken)
    for _ in range(2):  # the refused hook leaves nothing in the registry
        with pytest.raises(ConfigError, match=r"tfs_client_attempts.*pass another registry="):
            Prometheus(taken)


def test_a_registry_that_nobody_uses_is_freed():
    import gc
    import weakref

    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    hook = Prometheus(registry)
    gone = weakref.ref(registry)
    del registry, hook
    gc.collect()
    assert gone() is None


def test_hooks_made_after_the_metrics_were_unregistered_are_exported(doubling, registry):
    before = Prometheus(registry)

    def count(hook):
        with PredictClient(doubling.target, model="double", timeout=20, hooks=hook) as client:
            client.predict(X)
        return registry.get_sample_value(
            "tfs_client_calls_total", {"method": "Predict", "model": "double", "transport": "grpc", "code": "OK"}
        )

    assert count(before) == 1
    for collector in before._collectors._added[:3]:
        registry.unregister(collector)
    assert count(before) is None
    assert count(Prometheus(registry)) == 3  # the counts go on
    assert count(before) == 4


def test_a_page_of_some_metrics_leaves_out_the_calls_of_the_parent(registry):
    from prometheus_client import generate_latest

    hook, labels = Prometheus(registry), {"method": "Predict", "model": "m", "transport": "grpc"}
    hook(STARTED)
    some = registry.restricted_registry(["tfs_client_calls_in_flight"])
    assert value(samples(generate_latest(some).decode()), "calls_in_flight", **labels) == 1
    hook._calls.leave_to_parent()  # as in a forked process
    assert value(samples(generate_latest(some).decode()), "calls_in_flight", **labels) == 0


def test_pickling(registry):
    copy = pickle.loads(pickle.dumps(Prometheus(buckets=(0.5, 1))))
    assert copy._collectors is Prometheus(buckets=(0.5, 1))._collectors
    with pytest.raises(ConfigError, match="registry= cannot be pickled"):
        pickle.dumps(Prometheus(registry))


def test_a_strange_model_name_does_not_break_the_page(doubling, registry):
    from prometheus_client import generate_latest

    name = 'a"b\n\x1b[31m' + "x" * 5000
    hook = Prometheus(registry)
    with PredictClient(doubling.target, timeout=20, hooks=hook) as client, pytest.raises(NotFoundError):
        client.predict(X, model=name)
    text = generate_latest(registry).decode()
    assert "\x1b" not in text
    models = {dict(labels).get("model", "") for _, labels in samples(text)}
    assert max(map(len, models)) <= 256


@pytest.mark.parametrize("style", STYLES)
def test_the_page_has_no_inputs_tokens_and_metadata(style, registry):
    from prometheus_client import generate_latest

    def echoing(call: Call) -> None:
        raise Refusal(StatusCode.INVALID_ARGUMENT, f"{call.metadata} {call.body!r} {INPUT}")

    with serving(style, echoing) as server:
        options = {"token": TOKEN, "metadata": {"x-api-key": SECRET}, "hooks": Prometheus(registry)}
        with client_of(style, server, **options) as client, pytest.raises(CallError, match=TOKEN):
            client.predict({"x": [INPUT]})
    wait_for(lambda: "tfs_client_calls_total{" in generate_latest(registry).decode())
    text = generate_latest(registry).decode()
    assert "INVALID_ARGUMENT" in text
    for secret in (TOKEN, SECRET, str(INPUT)):
        assert secret not in text


# --- processes ---------------------------------------------------------------------------------------------------

# A program in the manner of gunicorn with preload: the client exists, and has called, before the workers are forked.
# Over REST: in a process that is forked while grpc starts a call, grpc itself may fail.
WORKERS = """
import os, sys, threading
import numpy as np
from prometheus_client import CollectorRegistry, REGISTRY, generate_latest, multiprocess
from tfs_client import PredictClient
from tfs_client.telemetry import CallStarted, Prometheus

client = PredictClient(sys.argv[1], model="slow", timeout=30, hooks=Prometheus())
client.predict({"x": np.float32([1])})
under_way = client.predict_future({"x": np.float32([7])})
LABELS = {"method": "Predict", "model": "slow", "transport": "rest"}

def work():
    inherited = REGISTRY.get_sample_value("tfs_client_calls_in_flight", LABELS)
    assert inherited == 0, inherited
    client.predict({"x": np.float32([1])})
    client.predict({"x": np.float32([1])})
    in_flight = REGISTRY.get_sample_value("tfs_client_calls_in_flight", LABELS)
    assert in_flight == 0, in_flight
    os._exit(0)

for _ in range(2):
    if (child := os.fork()) == 0:
        work()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if sys.argv[2] == "multiprocess":
        multiprocess.mark_process_dead(child)
registry = REGISTRY
if sys.argv[2] == "multiprocess":
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode(), flush=True)
print("END", flush=True)
under_way.result(30)
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("mode", ["multiprocess", "single"])
def test_forked_workers(mode, tmp_path):
    gate = threading.Event()

    def slow(x):
        if x[0] == 7:
            gate.wait(60)
        return x

    vector = TensorSpec("float32", (None,))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if mode == "multiprocess":
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    with FakeServer() as server:
        server.add_model("slow", slow, inputs={"x": vector}, outputs={"y": vector})
        program = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WORKERS, server.rest_url, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            lines = []
            while (line := program.stdout.readline()) not in ("END\n", ""):
                lines.append(line)
            gate.set()
            _, errors = program.communicate(timeout=60)
        finally:
            gate.set()
            program.kill()
    assert program.returncode == 0, errors
    found = samples("".join(lines))
    labels = {"method": "Predict", "model": "slow", "transport": "rest"}
    calls = 5 if mode == "multiprocess" else 1  # without it, the page has the calls of its process alone
    assert value(found, "calls_total", **labels, code="OK") == calls
    assert value(found, "call_duration_seconds_count", **labels, code="OK") == calls
    assert value(found, "calls_in_flight", **labels) == 1
