"""Platforms: what loads a version, and what is put around it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfs_client import CallError, ModelConfig, ModelServerConfig, PredictClient, make_tensor_proto
from tfs_client._codec import tfrecord
from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfs_client.server import Server, ServerConfig
from tfs_client.server.batching import BatchingParameters, BatchingServable
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms
from tfs_client.server.server_metrics import ServerMetrics

ROWS = """
import numpy as np

from tfs_client import TensorSpec
from tfs_client.server import FunctionSignature

VECTOR = TensorSpec("float32", (None,))
ROWS = TensorSpec("int32", (None,))


def rows(x):
    return {"y": x, "rows": np.full(len(x), len(x), np.int32)}


def signatures(path):
    return {"serving_default": FunctionSignature(rows, {"x": VECTOR}, {"y": VECTOR, "rows": ROWS})}
"""


@pytest.fixture
def version(tmp_path):
    """A version directory; its model returns the number of rows of its run."""
    path = tmp_path / "m" / "1"
    path.mkdir(parents=True)
    (path / "servable.py").write_text(ROWS)
    return path


@pytest.fixture
def platforms():
    """Makes platforms, ``platforms(batching=...)``; the last one's counts are ``platforms.metrics``."""
    made = []

    def make(**options):
        make.metrics = ServerMetrics()
        made.append(Platforms(PlatformOptions(**options), make.metrics))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.close()


@pytest.fixture
def loaded(platforms):
    """Loads a version; servables are closed after the test."""
    servables = []

    def load(path, platform="python", **options):
        servables.append(platforms(**options).loads[platform](str(path)))
        return servables[-1]

    yield load
    for servable in servables:
        servable.close()


def run(servable, *values):
    return servable.run("serving_default", {"x": np.float32(values)}, ["y", "rows"])


def text(metrics, name):
    return [line for line in metrics.page().splitlines() if line.startswith(f":tensorflow:{name}")]


def test_a_model_without_batching_is_not_wrapped(loaded, version):
    assert not isinstance(loaded(version), BatchingServable)


def test_concurrent_calls_form_one_batch_that_is_counted(loaded, platforms, version):
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=20_000_000, num_batch_threads=1)
    servable = loaded(version, batching=parameters)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda value: run(servable, value), range(4)))
    assert [answer["y"].tolist() for answer in answers] == [[0], [1], [2], [3]]
    assert {int(answer["rows"][0]) for answer in answers} == {4}
    found = text(platforms.metrics, "serving:batching_session")
    for line in ("wrapped_run_count{} 1", "processed_batch_size_sum{} 4", "input_batch_size_count{} 4"):
        assert f":tensorflow:serving:batching_session:{line}" in found
    assert ':tensorflow:serving:batching_session:padding_size_count{execution_batch_size="4"} 1' in found
    assert ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=""} 4' in found


def test_with_parameters_per_model_only_models_that_have_them_are_batched(loaded, version):
    shared = BatchingParameters(max_batch_size=4, num_batch_threads=1, thread_pool_name="shared")
    assert not isinstance(loaded(version, batching=shared, per_model_batching=True), BatchingServable)
    (version / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 2 } allowed_batch_sizes: 2 num_batch_threads { value: 9 }"
    )
    servable = loaded(version, batching=shared, per_model_batching=True)
    assert run(servable, 1.0)["rows"].tolist() == [2]
    with pytest.raises(CallError, match="Task size 3 is larger than maximum input batch size 2"):
        run(servable, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("no_such: 1", "INVALID_ARGUMENT: Invalid protobuf file: '.*batching_params.pbtxt'"),
        ("max_batch_size { value: 0 }", "INVALID_ARGUMENT: input_batch_size_limit must be positive; was 0"),
        (
            "max_batch_size { value: 3 } allowed_batch_sizes: 2",
            "INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; "
            "expected 3",
        ),
    ],
)
def test_invalid_parameters_fail_the_load(platforms, version, content, status):
    (version / "batching_params.pbtxt").write_text(content)
    made = platforms(batching=BatchingParameters(), per_model_batching=True)
    with pytest.raises(CallError, match=status):
        made.loads["python"](str(version))


def test_attempts_to_load_are_counted(platforms, version, tmp_path):
    made = platforms()
    made.loads["python"](str(version)).close()
    for _ in range(2):
        with pytest.raises(CallError):
            made.loads["python"](str(tmp_path))
    assert text(platforms.metrics, "cc:saved_model:load_attempt_count") == [
        f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{version}",status="success"}} 1',
        f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{tmp_path}",status="fail"}} 2',
    ]


@pytest.mark.parametrize(
    ("files", "prefer", "status"),
    [
        ([], False, "NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle"),
        (["model.tflite"], False, "NOT_FOUND: Specified file path does not appear"),
        (["saved_model.pb"], True, r"FAILED_PRECONDITION: .*tfs-client\[tensorflow\]"),
        (["model.tflite"], True, r"FAILED_PRECONDITION: .*tfs-client\[tensorflow\]"),
        (["saved_model.pb", "model.tflite"], True, r"FAILED_PRECONDITION: .*tfs-client\[tensorflow\]"),
    ],
)
def test_saved_models_need_tensorflow(platforms, tmp_path, monkeypatch, files, prefer, status):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(CallError, match=status):
        platforms(prefer_tflite_model=prefer).loads["tensorflow"](str(tmp_path))


def warmup_file(version, *values):
    log = PredictionLog()
    log.predict_log.request.model_spec.name = "recorded"
    log.predict_log.request.inputs["x"].CopyFrom(make_tensor_proto(np.float32(values)))
    (version / "assets.extra").mkdir()
    with open(version / "assets.extra" / "tf_serving_warmup_requests", "wb") as file:
        tfrecord.write(file, [log.SerializeToString()])


def test_a_python_model_loaded_as_a_saved_model_is_a_warning_about_its_platform(platforms, version, caplog):
    with pytest.raises(CallError, match="does not appear to contain a SavedModel"):
        platforms().loads["tensorflow"](str(version))
    (warning,) = caplog.messages
    assert warning.startswith(
        f"{version} contains servable.py, so it is a model of platform python. Start with --model_"
    )


def test_warmup_runs_through_batching_and_is_counted_under_the_recorded_name(platforms, version):
    warmup_file(version, 1.0, 2.0)
    made = platforms(batching=BatchingParameters(), warmup_iterations=3)
    servable = made.loads["python"](str(version))
    made.warm_up(servable, str(version))
    servable.close()
    metrics = platforms.metrics
    series = 'runtime_latency_count{model_name="recorded",API="Predict",runtime="TF1"} 3'
    assert f":tensorflow:serving:{series}" in text(metrics, "serving:runtime_latency_count")
    path = f'model_path="{version}",status="OK"'
    assert text(metrics, "serving:model_warmup_latency_count") == [
        f":tensorflow:serving:model_warmup_latency_count{{{path}}} 1"
    ]
    assert f":tensorflow:serving:model_warmup_records_read{{{path}}} 1" in text(metrics, "serving:model_warmup_records")
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 3" in text(metrics, "serving:batching_session")
    assert "request_count{" not in metrics.page()


def test_warmup_can_be_disabled(platforms):
    assert platforms(warmup=False).warm_up is None


def test_a_reload_reports_the_metrics_of_platforms(platforms, version):
    made = platforms(batching=BatchingParameters())
    config = ModelServerConfig([ModelConfig("m", str(version.parent), platform="python")])
    with (
        Server(
            ServerConfig(allow_python_reload=True),
            platforms=made.loads,
            warmup=made.warm_up,
            metrics=platforms.metrics,
        ) as server,
        PredictClient(server.target, timeout=20) as client,
    ):
        name = "/tensorflow/cc/saved_model/load_attempt_count"
        assert client.reload_config(config, metrics=[name, "/no/such"]).metrics == {name: 1, "/no/such": 0}
        assert client.predict({"x": np.float32([4])}, model="m")["y"].tolist() == [4]
