"""tfs-admin replay: recorded calls sent to real servers, and the differences that it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tfs_client import InvalidArgumentError, PredictClient, TensorSpec
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._codec import metadata_messages, predict_messages, tfrecord
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.cli.admin import command
from tfs_client.recordings import Episode, RecordingFile
from tfs_client.testing import FakeServer, faults

TABLE = TensorSpec("float32", (None, None))
STRINGS = TensorSpec("string", (None,))


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command; gives exit code, output and error output."""
    for name in ("TFS_SERVER", "TFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ran:
        code = command.main(["replay", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


def model(drift: float = 0.0) -> Callable[..., Any]:
    """A model that doubles, and adds a drift to one element; it refuses negative values."""

    def double(x: Any) -> Any:
        if (x < 0).any():
            raise ValueError(f"below zero{' by the drift' if drift else ''}")
        y = 2 * x
        y[-1, 1] += np.float32(drift)
        return y

    return double


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    """A server with the model, and with one that drifts by 1e-3."""
    for name, version, drift in (("m", 1, 0.0), ("m", 2, 1e-3), ("drifted", 1, 1e-3)):
        fake_server.add_model(name, model(drift), inputs={"x": TABLE}, outputs={"y": TABLE}, version=version)
    fake_server.add_model(
        "marks",
        lambda inputs: {"classes": [[b"a", b"b"]] * len(inputs), "scores": [[0.25, 0.75]] * len(inputs)},
        inputs={"inputs": STRINGS},
        outputs={"classes": TensorSpec("string", (None, None)), "scores": TABLE},
        method_name="tensorflow/serving/classify",
    )
    return fake_server


@pytest.fixture
def calls(served: FakeServer, tmp_path: Path) -> Path:
    """A recording of version 1 of the model: three predictions, a refusal, a classification, metadata twice.

    The client itself looks up the metadata after the refusal.
    """
    path = tmp_path / "calls"
    with PredictClient(served.target, model="m", record=path) as client:
        for rows in (1, 2, 3):
            client.predict({"x": np.full((rows, 3), rows, np.float32)}, version=1)
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": np.full((1, 3), -1, np.float32)}, version=1)
        client.signatures(version=1)
        client.classify([{"a": 1.0}], model="marks")
        client.status()
    return path


def addresses(server: FakeServer) -> tuple[str, str]:
    return server.target, server.rest_url


def test_a_server_that_answers_alike_is_the_same(run: Any, served: FakeServer, calls: Path) -> None:
    for target in addresses(served):
        ran = run(calls, "--against", target)
        assert ran.code == 0, ran.out
        assert ran.lines[0].startswith("7 calls: 7 same, 0 different; ")
        assert ran.lines[1].startswith("latency with --concurrency 8: median ")
        assert ran.lines[2] == "left out: 1 call of GetModelStatus"
        assert ran.err == ""


def test_a_drift_is_found_and_named(run: Any, served: FakeServer, calls: Path) -> None:
    for target in addresses(served):
        ran = run(calls, "--against", target, "--version", 2, "--model", "m")
        assert ran.code == 9
        assert ran.lines[0].split() == ["CALL", "METHOD", "MODEL", "OUTPUT", "INDEX", "DIFFERENCE"]
        call, method, name, output, row, column, what = ran.lines[2].split(maxsplit=6)
        assert (call, method, name, output, row, column) == ("1", "Predict", "m:2", "y", "[1,", "1]")
        assert what.startswith("expected 4.0, got 4.001")
        assert "off by 0.000999" in what
        assert what.endswith("1 of 6 values differ")
        assert "left out: 1 call of other models" in ran.lines
    assert run(calls, "--against", served.target, "--version", 2, "--model", "m", "--rtol", 1e-2).code == 9  # its error
    assert "below zero by the drift" in run(calls, "--against", served.target, "--model", "m=drifted").out


def test_json_has_a_line_for_each_call(run: Any, served: FakeServer, calls: Path) -> None:
    ran = run(calls, "--against", served.target, "--model", "m=drifted", "--atol", 1e-4, "--json")
    *found, summary = map(json.loads, ran.lines)
    assert ran.code == 9
    assert [each["call"] for each in found] == [0, 1, 2, 3, 4, 5]
    assert [each["same"] for each in found] == [False] * 4 + [True] * 2
    (difference,) = found[2]["differences"]
    assert (difference["output"], difference["index"], difference["expected"]) == ("y", [2, 1], 6.0)
    assert difference["off_by"] == pytest.approx(1e-3, rel=1e-2)
    assert (difference["differing"], difference["values"]) == (1, 9)
    assert found[3]["code"] == "INVALID_ARGUMENT"
    assert "ValueError: below zero by the drift" in found[3]["differences"][0]["reason"]
    assert (summary["same"], summary["different"]) == (2, 4)
    assert summary["median_seconds"] > 0


def test_two_servers_or_versions_are_compared_on_the_recorded_requests(
    run: Any, served: FakeServer, calls: Path
) -> None:
    target, rest = addresses(served)
    assert run(calls, "--against", target, "--baseline", rest).code == 0
    both = ("--model", "m", "--version", 2, "--baseline", target, "--baseline-version")
    assert run(calls, "--against", target, *both, 2).code == 0
    ran = run(calls, "--against", target, *both, 1)
    assert (ran.code, ran.out.count("off by 0.000999") + ran.out.count("off by 0.00100")) == (9, 3)


def test_other_classes_and_signatures_are_differences(run: Any, served: FakeServer, calls: Path) -> None:
    with FakeServer() as other:
        other.add_model("m", model(), inputs={"x": TABLE}, outputs={"y": TABLE, "z": TABLE})
        other.add_model(
            "marks",
            lambda inputs: {"classes": [[b"a", b"c"]], "scores": [[0.25, 0.5]]},
            inputs={"inputs": STRINGS},
            outputs={"classes": TensorSpec("string", (None, None)), "scores": TABLE},
            method_name="tensorflow/serving/classify",
        )
        ran = run(calls, "--against", other.target, "--json")
    found = {each["call"]: each for each in map(json.loads, ran.lines[:-1])}
    assert [(each["output"], each["index"]) for each in found[6]["differences"]] == [
        ("labels", [0, 1]),
        ("scores", [0, 1]),
    ]
    assert (found[6]["differences"][0]["expected"], found[6]["differences"][0]["got"]) == ("b", "c")
    (signature,) = found[4]["differences"]
    assert signature["output"] == "serving_default"
    assert "z: float32" in str(signature["got"])


@pytest.mark.parametrize("command_line", [["replay", "--against", "SERVER"], ["cassette", "diff", "OTHER"]])
def test_the_order_in_which_a_server_lists_aliases_does_not_count(
    command_line: list[str], fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, recorded = ModelSpec("m"), {}
    for name, order in (("calls", 1), ("other", -1)):
        inputs, outputs = (dict.fromkeys(text[::order], (TABLE.row, TABLE.shape, "")) for text in ("abc", "yz"))
        signatures = {"serving_default": (inputs, outputs, "tensorflow/serving/predict", {})}
        recorded[name] = metadata_messages.write_response(ModelSpec("m", 1), signatures)
        episode = Episode("GetModelMetadata", spec, GetModelMetadata(spec).write(), recorded[name])
        RecordingFile.write(tmp_path / name, [episode])
    assert recorded["calls"] != recorded["other"]
    served = [dict.fromkeys(text, TABLE) for text in ("bca", "zy")]
    fake_server.add_model("m", lambda a, b, c: {"y": a, "z": b}, inputs=served[0], outputs=served[1])
    places = {"SERVER": fake_server.target, "OTHER": str(tmp_path / "other")}
    code = command.main([*(places.get(text, text) for text in command_line), str(tmp_path / "calls")])
    assert code == 0, capsys.readouterr().out


def test_a_warmup_file_is_compared_between_servers_only(run: Any, served: FakeServer, tmp_path: Path) -> None:
    from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    request = predict_messages.write_request(ModelSpec("m"), {"x": np.ones((1, 2), np.float32)})
    log.predict_log.request.MergeFromString(request)
    with open(tmp_path / "warmup", "wb") as file:
        tfrecord.write(file, [log.SerializeToString()])
    ran = run(tmp_path / "warmup", "--against", served.target)
    assert ran.code == 2
    assert "1 request without a recorded reply; --baseline TARGET" in ran.err
    assert run(tmp_path / "warmup", "--against", served.target, "--baseline", served.target).code == 0


def test_a_reply_that_cannot_be_read_is_a_difference_of_its_call(run: Any, served: FakeServer, tmp_path: Path) -> None:
    path, inputs = tmp_path / "calls", {"x": np.ones((1, 2), np.float32)}
    with PredictClient(served.target, model="m", record=path) as client:
        for _ in range(3):
            client.predict(inputs, version=1)
    first, *others = RecordingFile.read(path).episodes
    for target in addresses(served):
        with served.faults.add(faults.GarbageReply(), times=1):
            ran = run(path, "--against", target, "--concurrency", 1)
        assert ran.code == 9
        assert "the reply of Predict for model 'm' cannot be read" in ran.lines[1]
        assert ran.lines[2].startswith("3 calls: 2 same, 1 different")
    RecordingFile.write(path, [replace(first, reply=b"\xff"), *others])
    for target in addresses(served):
        ran = run(path, "--against", target)
        assert (ran.code, ran.err) == (9, "")
        assert ran.lines[1].split(maxsplit=4)[:4] == ["0", "Predict", "m:1", "reply"]
        assert "the recorded reply cannot be read: " in ran.lines[1]
        assert ran.lines[2].startswith("3 calls: 2 same, 1 different")


def test_errors_have_their_own_exit_codes(run: Any, served: FakeServer, calls: Path, tmp_path: Path) -> None:
    assert run(calls, "--against", "127.0.0.1:1", "--timeout", 10).code == 3
    for arguments, said in (
        ((calls,), "expected --against TARGET"),
        ((tmp_path / "nothing", "--against", served.target), "nothing' cannot be read: No such file or directory"),
        ((calls, "--against", served.target, "--rtol", "-1"), "expected --rtol as a number of at least 0"),
        ((calls, "--against", served.target, "--rtol", "inf"), "expected --rtol as a number of at least 0, got inf"),
        ((calls, "--against", served.target, "--atol", "nan"), "expected --atol as a number of at least 0, got nan"),
        ((calls, "--against", served.target, "--concurrency", "0"), "expected --concurrency from 1 to 256"),
        ((calls, "--against", served.target, "--baseline-version", "1"), "--baseline-version needs --baseline"),
        ((calls, "--against", served.target, "--model", "=x"), "expected --model NAME or NAME=OTHER"),
        ((calls, "--against", served.target, "--model", "absent"), "expected calls to compare"),
    ):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (2, ""), said
        assert said in ran.err
        assert ran.err.count("\n") == 1
    with open(calls, "r+b") as file:
        file.truncate(30)
    assert run(calls, "--against", served.target).code == 1  # damaged


def test_many_calls_run_at_once_and_are_reported_in_order(run: Any, double: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "many"
    with PredictClient(double.target, model="double", record=path) as client:
        client.predict({"x": np.ones(1, np.float32)})
    (one,) = RecordingFile.read(path).episodes
    RecordingFile.write(path, [one] * 100)
    ran = run(path, "--against", double.target, "--json", "--concurrency", 16)
    assert ran.code == 0
    assert [json.loads(line)["call"] for line in ran.lines[:-1]] == list(range(100))
