"""The published stubs through the recording proxy; its file, read by TensorFlow; and the stubs on its replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from peers.test_official_client import Stubs

from tfs_client import PredictClient
from tfs_client.cli.admin import command
from tfs_client.recordings import RecordingFile
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer
from tfs_client.testing.recording_proxy.proxy import RecordingProxy, Upstream

pytestmark = pytest.mark.peer


def outcomes(target: str) -> list[Any]:
    """What the stubs get for a few calls: outputs, the version, and codes with texts."""
    stubs = Stubs(target)
    found: list[Any] = []
    for inputs, spec in (
        ({"x": np.float32([1, 2, 3])}, {"name": "half_plus_two"}),
        ({"x": np.float32([5])}, {"name": "half_plus_two", "version": 1}),
        ({"z": np.float32([1])}, {"name": "half_plus_two"}),
        ({"x": np.int32([1])}, {"name": "half_plus_two"}),
        ({"x": np.float32([1])}, {"name": "unknown"}),
        ({"x": np.float32([1])}, {"name": "half_plus_two", "version": 99}),
        ({"x": np.float32([1])}, {"name": "half_plus_two", "signature_name": "unknown"}),
    ):
        try:
            reply = stubs.predict(inputs, **spec)
        except grpc.RpcError as error:
            found.append((error.code(), error.details()))
        else:
            found.append((reply.outputs["y"].SerializeToString(), reply.model_spec.version.value))
    stubs.channel.close()
    return found


@pytest.fixture(scope="module")
def recorded(official: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A recording of the stubs' calls, and what they got through the proxy."""
    path = tmp_path_factory.mktemp("recorded") / "calls"
    with RecordingProxy(Upstream(official.target), RecordingFile(path).append, ServerConfig()) as proxy:
        through = outcomes(proxy.target)
    return path, through


def test_the_stubs_get_the_same_through_the_proxy(official: Any, recorded: tuple[Path, list[Any]]) -> None:
    path, through = recorded
    assert through == outcomes(official.target)
    assert len([outcome for outcome in through if isinstance(outcome[0], grpc.StatusCode)]) == 5
    assert len(RecordingFile.read(path).episodes) == 7


def test_tensorflow_reads_the_file(recorded: tuple[Path, list[Any]]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(recorded[0]))
    ]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 2
    assert tf.make_ndarray(logs[0].predict_log.request.inputs["x"]).tolist() == [1, 2, 3]
    assert tf.make_ndarray(logs[0].predict_log.response.outputs["y"]).tolist() == [3.5, 4.0, 4.5]


def test_the_stubs_get_the_same_from_the_replay(recorded: tuple[Path, list[Any]]) -> None:
    path, through = recorded
    with FakeServer.from_recording(path, strict=True) as server:
        replayed = outcomes(server.target)
        with PredictClient(server.rest_url, model="half_plus_two") as client:
            assert client.predict({"x": np.float32([1, 2, 3])})["y"].tolist() == [3.5, 4.0, 4.5]
    assert [outcome[1] for outcome in replayed] == [outcome[1] for outcome in through]  # versions and texts
    assert [outcome[0] for outcome in replayed[2:]] == [outcome[0] for outcome in through[2:]]  # codes


def test_a_replay_against_the_server_finds_no_difference(
    official: Any, recorded: tuple[Path, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["replay", str(recorded[0]), "--against", official.target]) == 0, capsys.readouterr().out
