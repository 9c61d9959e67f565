"""FakeServer answers from a recording over every transport: values, errors, states and signatures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from calling import GRPC, STYLES, calling

import tfs_client
from tfs_client import (
    CallError,
    ConfigError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    PredictClient,
    RecordingError,
    SignatureError,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client._codec import predict_messages, tfrecord
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.recordings import Episode, RecordingFile
from tfs_client.results import State
from tfs_client.testing import FakeServer, faults

VECTOR = TensorSpec("float32", (None,))
TABLE = TensorSpec("float32", (None, None))
STRINGS = TensorSpec("string", (None,))
CLASSES = {"classes": TensorSpec("string", (None, None)), "scores": TABLE}


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def predicted(x: Any, reply: Any, version: int | None = 3, **options: Any) -> Episode:
    """A recorded call of the model "m", with the input "x" and the output "y" or several outputs."""
    outputs = reply if isinstance(reply, dict) else {"y": reply}
    spec = options.pop("spec", ModelSpec("m"))
    wanted = options.pop("outputs", ())
    request = predict_messages.write_request(spec, x if isinstance(x, dict) else {"x": x}, wanted)
    answered = ModelSpec("m", version, None, "serving_default")
    return Episode("Predict", spec, request, predict_messages.write_response(answered, outputs), **options)


@pytest.fixture
def replayed(tmp_path: Path) -> Any:
    """Make a running server from episodes; it stops after the test."""
    servers: list[FakeServer] = []

    def make(*episodes: Episode, **options: Any) -> FakeServer:
        path = tmp_path / f"calls{len(servers)}"
        RecordingFile.write(path, episodes)
        servers.append(FakeServer.from_recording(path, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def oven(x: Any) -> Any:
    if (x < 0).any():
        raise ValueError("below zero")
    return {"hot": x * 2, "cold": x - 1}


@pytest.fixture(params=["grpc", "grpc-aio", "rest", "rest-aio"])
def recorded(request: pytest.FixtureRequest, fake_server: FakeServer, tmp_path: Path) -> Path:
    """A recording over one of the transports."""
    outputs = {"hot": VECTOR, "cold": VECTOR}
    fake_server.add_model("oven", oven, inputs={"x": VECTOR}, outputs=outputs, version=7)
    fake_server.add_model(
        "marks",
        lambda inputs: {"classes": [[b"a", b"b"]] * len(inputs), "scores": [[0.25, 0.75]] * len(inputs)},
        inputs={"inputs": STRINGS},
        outputs=CLASSES,
        method_name="tensorflow/serving/classify",
    )
    fake_server.add_model(
        "marks",
        lambda inputs: f32(*range(len(inputs))),
        signature="rank",
        inputs={"inputs": STRINGS},
        outputs={"outputs": VECTOR},
        method_name="tensorflow/serving/regress",
    )
    path = tmp_path / "calls"
    with calling(request.param, fake_server, model="oven", record=path, timeout=20) as client:
        calls_of_the_oven(client)
    return path


def calls_of_the_oven(client: Any) -> list[Any]:
    """What a client gets for a few calls."""
    found: list[Any] = [{alias: array.tolist() for alias, array in client.predict({"x": f32(1, 2)}).items()}]
    with pytest.raises(InvalidArgumentError) as refused:
        client.predict({"x": f32(-1)})
    found.append(refused.value.details)
    examples = [{"age": 1.5, "name": "ann"}, {"age": 2.5, "name": "bo"}]
    classes = client.classify(examples, model="marks").classes
    found.append([[(each.label, each.score) for each in row] for row in classes])
    found.append(client.regress(examples, model="marks", signature="rank").values)
    found.append([(each.version, each.state) for each in client.status().versions])
    return found


def test_calls_recorded_over_one_transport_replay_over_all(recorded: Path) -> None:
    with FakeServer.from_recording(recorded, strict=True) as server:
        for style in STYLES:
            with calling(style, server, model="oven", timeout=20) as client:
                assert calls_of_the_oven(client) == [
                    {"hot": [2.0, 4.0], "cold": [0.0, 1.0]},
                    "ValueError: below zero",
                    [[("a", 0.25), ("b", 0.75)]] * 2,
                    (0.0, 1.0),
                    [(7, State.AVAILABLE)],
                ], style
        assert server.unused_recordings() == []
        first = server.calls[0]
        assert (first.model, first.version, first.inputs["x"].tolist()) == ("oven", 7, [1.0, 2.0])


def test_multi_inference_replays(fake_server: FakeServer, tmp_path: Path) -> None:
    for signature, method, outputs in (
        ("serving_default", "classify", {"scores": TABLE}),
        ("rank", "regress", {"outputs": VECTOR}),
    ):
        fake_server.add_model(
            "marks",
            (lambda inputs: f32(*[0.5] * len(inputs)).reshape(-1, 1))
            if method == "classify"
            else (lambda inputs: f32(*[2.5] * len(inputs))),
            signature=signature,
            inputs={"inputs": STRINGS},
            outputs=outputs,
            method_name=f"tensorflow/serving/{method}",
        )
    tasks = {"serving_default": "classify", "rank": "regress"}
    with PredictClient(fake_server.target, model="marks", record=tmp_path / "calls") as client:
        expected = client.multi_inference([{"a": 1.0}], tasks=tasks)
    with FakeServer.from_recording(tmp_path / "calls") as server, PredictClient(server.target, model="marks") as client:
        assert client.multi_inference([{"a": 1.0}], tasks=tasks) == expected
        with pytest.raises(FailedPreconditionError, match="tasks"):
            client.multi_inference([{"a": 1.0}], tasks={"rank": "regress"})


def test_a_call_that_was_not_recorded_fails_and_shows_the_nearest(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1, 2, 3), f32(0)), predicted(f32(9), f32(0)))
    for style in STYLES:
        refused = FailedPreconditionError if style in GRPC else InvalidArgumentError  # both are 400 over REST
        with calling(style, server, model="m") as client, pytest.raises(refused) as failed:
            client.predict({"x": f32(1, 2, 3.5)})
        assert "does not have this call" in failed.value.details
        assert "[2]: expected 3.0, got 3.5" in failed.value.details
    assert len(server.unused_recordings()) == 2
    with pytest.raises(AssertionError) as problems:
        server.check()
    assert "calls that no recording has (6)" in str(problems.value)
    assert "unused recorded calls (2)" in str(problems.value)


def test_without_repeats_each_recorded_call_answers_once(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(2)), predicted(f32(1), f32(3)), repeats=False)
    with PredictClient(server.target) as client, PredictClient(server.rest_url) as rest:
        assert client.predict({"x": f32(1)}, model="m", outputs=["y"])["y"] == 2
        assert rest.predict({"x": f32(1)}, model="m")["y"] == 3
        with pytest.raises(FailedPreconditionError, match="has this call 2 times, used up already"):
            client.predict({"x": f32(1)}, model="m")
        for _ in range(2):
            client.signatures(model="m")


def test_assertions_know_recorded_models(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(2)))
    server.assert_not_called("m", x=f32(5))
    with pytest.raises(ConfigError, match="no signature has the input 'z'; inputs: x"):
        server.assert_not_called("m", z=f32(5))


def test_strict_servers_require_every_recorded_call(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(2)), predicted(f32(3), f32(4)), strict=True)
    with PredictClient(server.target, model="m") as client:
        client.predict({"x": f32(1)})
        with pytest.raises(AssertionError, match=r"unused recorded calls \(1\)"):
            server.check()
        client.predict({"x": f32(3)})
    server.check()


def test_inputs_match_within_a_tolerance(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(10)), predicted(f32(2), f32(20)), rtol=1e-3)
    with PredictClient(server.target, model="m") as client:
        assert client.predict({"x": f32(2.001)})["y"] == 20
        with pytest.raises(FailedPreconditionError):
            client.predict({"x": f32(2.1)})


def test_only_some_inputs_and_metadata_may_count(replayed: Callable[..., FakeServer]) -> None:
    both = {"x": f32(1), "noise": f32(0.1)}
    episodes = [predicted(both, f32(user), metadata=(("x-user", str(user)),)) for user in (1, 2)]
    server = replayed(*episodes, inputs=("x",), metadata=("x-user",))
    for style in STYLES:
        with calling(style, server, model="m", metadata={"x-user": "2"}) as client:
            assert client.predict({"x": f32(1), "noise": f32(0.7)})["y"] == 2, style


def test_an_input_to_compare_that_no_recorded_call_has_is_refused(replayed: Callable[..., FakeServer]) -> None:
    with pytest.raises(ConfigError, match="inputs= has 'y', but the recorded calls have x"):
        replayed(predicted(f32(1), f32(1)), inputs=("x", "y"))
    with pytest.raises(ConfigError, match="expected the path of a recording, got 5"):
        FakeServer.from_recording(5)  # type: ignore[arg-type]


def test_repeated_calls_get_the_replies_in_order_and_then_the_last(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(10)), predicted(f32(1), f32(20)))
    with PredictClient(server.target, model="m") as client:
        assert [client.predict({"x": f32(1)})["y"].item() for _ in range(4)] == [10, 20, 20, 20]


def test_states_are_those_that_were_recorded(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.add_model("m", oven, inputs={"x": VECTOR}, outputs={"hot": VECTOR, "cold": VECTOR})
    with PredictClient(fake_server.target, model="m", record=tmp_path / "calls") as client:
        client.status()
        fake_server.remove_model("m")
        client.status()
    with FakeServer.from_recording(tmp_path / "calls") as server, PredictClient(server.rest_url, model="m") as client:
        found = [client.status().versions[0].state for _ in range(3)]
    assert found == [State.AVAILABLE, State.END, State.END]


def test_without_metadata_signatures_come_from_the_tensors(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(
        predicted(np.zeros((2, 3), np.int64), f32(1, 2)), predicted(np.zeros((5, 3), np.int64), f32(1, 2))
    )
    for style in STYLES:
        with calling(style, server, model="m") as client:
            signature = client.signatures()["serving_default"]
            assert signature.inputs == {"x": TensorSpec("int64", (None, 3))}
            assert signature.outputs == {"y": TensorSpec("float32", (None,))}
            assert client.status().available == (3,)
            assert client.predict({"x": np.zeros((5, 3), np.int64)})["y"].tolist() == [1, 2]


def test_recorded_metadata_decides_signatures_and_versions(fake_server: FakeServer, tmp_path: Path) -> None:
    for version in (2, 5):
        fake_server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, version=version)
    with PredictClient(fake_server.target, model="m", record=tmp_path / "calls") as client:
        expected = {version: client.signatures(version=version) for version in (2, 5)}
        client.predict({"x": f32(1)}, version=2)
    with FakeServer.from_recording(tmp_path / "calls") as server, PredictClient(server.target, model="m") as client:
        for version in (2, 5):
            assert client.signatures(version=version) == expected[version]
            spec = client.signatures(version=version)["serving_default"].inputs["x"]
            assert spec.tensor_name == "serving_default_x:0"
        assert client.predict({"x": f32(1)}, version=2).model.version == 2
        with pytest.raises(FailedPreconditionError, match="version: recorded 2, got 5"):
            client.predict({"x": f32(1)}, version=5)


def test_labels_resolve_to_the_version_that_answered(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(
        predicted(f32(1), f32(2), version=3), predicted(f32(1), f32(4), version=2, spec=ModelSpec("m", label="stable"))
    )
    for style in STYLES:
        with calling(style, server, model="m", label="stable") as client:
            assert client.predict({"x": f32(1)})["y"] == 4
            assert client.signatures().version == 2


def test_fewer_outputs_than_recorded_may_be_asked_for(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), {"y": f32(2), "z": f32(3)}))
    for style in STYLES:
        with calling(style, server, model="m") as client:
            assert {alias: array.item() for alias, array in client.predict({"x": f32(1)}, outputs=["z"]).items()} == {
                "z": 3.0
            }


def test_a_reply_with_some_of_the_outputs_answers_calls_for_these(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(
        predicted(f32(1), {"y": f32(2)}, outputs=("y",)), predicted(f32(1), {"y": f32(2), "z": f32(3)}, outputs="yz")
    )
    with PredictClient(server.target, model="m") as client:
        for wanted in (["y"], ["z"], ["z", "y"]):
            assert sorted(client.predict({"x": f32(1)}, outputs=wanted)) == sorted(wanted)
        with pytest.raises(FailedPreconditionError, match=r"outputs: recorded \('y', 'z'\), got \('w',\)"):
            client.predict({"x": f32(1)}, outputs=["w"])
    for style in STYLES:
        refused = FailedPreconditionError if style in GRPC else InvalidArgumentError  # both are 400 over REST
        with (
            calling(style, server, model="m") as client,
            pytest.raises(refused, match=r"outputs: recorded .*, got 'all"),
        ):
            client.predict({"x": f32(1)})


def test_recorded_metadata_shows_that_a_reply_has_all_outputs(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.add_model("m", oven, inputs={"x": VECTOR}, outputs={"hot": VECTOR, "cold": VECTOR})
    with PredictClient(fake_server.target, model="m", record=tmp_path / "calls") as client:
        client.signatures()
        client.predict({"x": f32(1)}, outputs=["hot"])
        client.predict({"x": f32(2)}, outputs=["hot", "cold"])
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": f32(-1)}, outputs=["hot"])
    with FakeServer.from_recording(tmp_path / "calls") as server:
        for style in STYLES:
            refused = FailedPreconditionError if style in GRPC else InvalidArgumentError
            with calling(style, server, model="m") as client:
                assert sorted(client.predict({"x": f32(2)})) == ["cold", "hot"], style
                for value in (1, -1):
                    with pytest.raises(refused, match=r"outputs: recorded \('hot'.*, got .?'all'"):
                        client.predict({"x": f32(value)})


def test_empty_inputs_over_rest_have_any_size_within_the_empty_axis(replayed: Callable[..., FakeServer]) -> None:
    empty = {"x": np.zeros((0, 2), np.float32), "n": np.zeros((0, 3), np.int64)}
    server = replayed(
        predicted({**empty, "n": np.ones(1, np.int64)}, f32(5)),
        predicted(empty, f32(6)),
        predicted({"x": np.zeros((2, 0, 3), np.float32), "n": empty["n"]}, f32(7)),
        strict=True,
    )
    for body, expected in (
        ({"x": [], "n": []}, 6),
        ({"x": [[], []], "n": []}, 7),
        ({"x": [], "n": [1]}, 5),
    ):
        reply = httpx.post(f"{server.rest_url}/v1/models/m:predict", json={"inputs": body}, timeout=20)
        assert reply.json() == {"outputs": [expected]}
    server.check()
    with PredictClient(server.target, model="m") as client, pytest.raises(FailedPreconditionError):
        client.predict({"x": np.zeros(0, np.float32), "n": np.zeros(0, np.int64)})  # gRPC has the shape


def test_a_model_that_only_failed_fails_again(replayed: Callable[..., FakeServer]) -> None:
    request = predict_messages.write_request(ModelSpec("gone"), {"x": f32(1)})
    code = InternalError("").code
    server = replayed(Episode("Predict", ModelSpec("gone"), request, None, code, "the disk has melted"))
    with (
        PredictClient(server.target, model="gone") as client,
        pytest.raises(InternalError, match="the disk has melted"),
    ):
        client.predict({"x": f32(1)})
    server.check()


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference", "GetModelStatus"])
def test_a_damaged_reply_is_a_fault_of_the_recording(fake_server: FakeServer, tmp_path: Path, method: str) -> None:
    fake_server.add_model("m", lambda inputs: inputs, inputs={"inputs": STRINGS}, outputs={"y": STRINGS})
    signatures = {
        "classes": ("classify", lambda inputs: [[b"a"]] * len(inputs), {"classes": CLASSES["classes"]}),
        "values": ("regress", lambda inputs: np.ones(len(inputs), np.float32), {"outputs": VECTOR}),
    }
    for name, (api, function, outputs) in signatures.items():
        fake_server.add_model(
            "m",
            function,
            inputs={"inputs": STRINGS},
            outputs=outputs,
            signature=name,
            method_name=f"tensorflow/serving/{api}",
        )

    def call(client: PredictClient) -> object:
        examples = [{"a": 1.0}]
        if method == "Predict":
            return client.predict([b"a"])
        if method == "Classify":
            return client.classify(examples, signature="classes")
        if method == "Regress":
            return client.regress(examples, signature="values")
        if method == "GetModelStatus":
            return client.status()
        return client.multi_inference(examples, tasks={"classes": "classify", "values": "regress"})

    path = tmp_path / "calls"
    with PredictClient(fake_server.target, model="m", record=path) as client:
        client.signatures()
        call(client)
    episodes = [
        replace(each, reply=b"\xff") if each.method == method else each for each in RecordingFile.read(path).episodes
    ]
    RecordingFile.write(path, episodes)
    with FakeServer.from_recording(path) as server:
        targets = [server.target] if method == "MultiInference" else [server.target, server.rest_url]
        for target in targets:
            with (
                PredictClient(target, model="m", timeout=20) as client,
                pytest.raises(CallError, match=f"the recorded reply of {method} for model 'm' cannot be read"),
            ):
                call(client)
        assert {each.code for each in (*server.calls, *server.lookups) if each.method == method} == {
            StatusCode.FAILED_PRECONDITION
        }


def test_a_warmup_file_has_no_replies(tmp_path: Path) -> None:
    from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    log.predict_log.request.MergeFromString(predict_messages.write_request(ModelSpec("m"), {"x": f32(1)}))
    with open(tmp_path / "tf_serving_warmup_requests", "wb") as file:
        tfrecord.write(file, [log.SerializeToString()])
    with pytest.raises(RecordingError, match="has requests and no replies"):
        FakeServer.from_recording(tmp_path / "tf_serving_warmup_requests")
    with pytest.raises(RecordingError, match="nothing' cannot be read: No such file or directory"):
        FakeServer.from_recording(tmp_path / "nothing")


def test_a_model_is_served_by_a_recording_or_a_function(tmp_path: Path) -> None:
    RecordingFile.write(tmp_path / "calls", [predicted(f32(1), f32(2))])
    with FakeServer() as server:
        server.add_model("other", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        server.replay(tmp_path / "calls")
        assert server.models == ["m", "other"]
        with PredictClient(server.target) as client:
            assert client.predict({"x": f32(1)}, model="m")["y"] == 2
            assert client.predict({"x": f32(1)}, model="other")["y"] == 1
        with pytest.raises(ConfigError, match="a recording answers"):
            server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with FakeServer() as server:
        server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with pytest.raises(ConfigError, match="served already"):
            server.replay(tmp_path / "calls")


def test_clients_check_recorded_signatures(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(2)))
    with PredictClient(server.target, model="m", validate=True) as client, pytest.raises(SignatureError, match="'z'"):
        client.predict({"z": f32(1)})


def test_faults_come_before_recorded_answers(replayed: Callable[..., FakeServer]) -> None:
    server = replayed(predicted(f32(1), f32(2)))
    for style in STYLES:
        server.faults.add(faults.Status(StatusCode.UNAVAILABLE, "the cable is loose"), method="Predict", times=1)
        with calling(style, server, model="m") as client:
            with pytest.raises(UnavailableError, match="the cable is loose"):
                client.predict({"x": f32(1)})
            assert client.predict({"x": f32(1)})["y"] == 2, style
    server.check()


MARKED = """
import numpy as np
import pytest
from tfs_client import PredictClient


@pytest.mark.fake_server(recording="calls", strict=True, rtol=1e-2)
def test_replays(fake_target):
    with PredictClient(fake_target, model="m") as client:
        assert client.predict({"x": np.float32([1.001])})["y"] == 2


@pytest.mark.fake_server(recording="calls", strict=True)
def test_leaves_a_call(fake_server):
    assert [episode.method for episode in fake_server.unused_recordings()] == ["Predict"]


@pytest.mark.fake_server(rtol=1e-2)
def test_has_no_recording(fake_server):
    pass
"""


@pytest.mark.peer
def test_the_marker_of_the_fixture_names_a_recording(tmp_path: Path) -> None:
    RecordingFile.write(tmp_path / "calls", [predicted(f32(1), f32(2))])
    (tmp_path / "test_marked.py").write_text(MARKED)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "test_marked.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 failed, 2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "unused recorded calls (1)" in done.stdout
    assert "rtol= needs recording=PATH" in done.stdout
