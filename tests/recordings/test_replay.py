"""Recordings of clients: recorded over one transport, replayed over another, without a server."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import numpy as np
import pytest
from calling import calling

from tfs_client import (
    CallError,
    RecordingError,
    TensorSpec,
)
from tfs_client.recordings import Recording, RecordingFile
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.embedded import MODELS

FOUR = ("grpc", "grpc-aio", "rest", "rest-aio")
X = {"x": np.float32([[1, 2], [3, 4]])}
PAIRS = TensorSpec("float32", (None, 2))
DOUBLE = FunctionSignature(lambda x: {"y": 2 * x}, {"x": PAIRS}, {"y": PAIRS})


@pytest.fixture(scope="module")
def server():
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("double", {"serving_default": DOUBLE})
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        yield server


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "calls.tfrecord")


class Nobody:
    """Listens, and remembers whether anybody connected."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.target = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.rest_url = f"http://{self.target}"

    @property
    def called(self):
        with contextlib.suppress(BlockingIOError):
            self._socket.accept()
            return True
        return False

    def close(self):
        self._socket.close()


@pytest.fixture
def nobody():
    with contextlib.closing(Nobody()) as nobody:
        yield nobody


def outcome(call):
    """What a caller sees of a call, without what differs between gRPC and REST."""
    try:
        result = call()
    except CallError as error:
        return type(error), error.code, error.method, error.details
    if hasattr(result, "tolist"):
        return result.dtype, result.tolist()
    return getattr(result, "classes", None) or getattr(result, "values", None) or str(result)


def script(client):
    """Calls of every kind; of each, its outcome."""
    signatures = client.signatures(model="double")
    return [
        outcome(lambda: client.predict(X).array),
        outcome(lambda: client.predict({"x": [[1, 2]]}).array),
        outcome(lambda: client.predict([[5, 6]]).array),
        outcome(lambda: client.predict(X, outputs="y").array),
        outcome(lambda: client.predict(X, model="missing").array),
        outcome(lambda: client.classify([{"x": 2.0}], model="half_plus_two", signature="classify_x_to_y").classes),
        outcome(lambda: client.regress([{"x": 2.0}], model="half_plus_two", signature="regress_x_to_y").values),
        outcome(lambda: client.status(model="double").available),
        outcome(lambda: str(signatures)),
        outcome(lambda: client.is_ready(model="double")),
    ]


@pytest.mark.parametrize("recorder", FOUR)
def test_a_recording_over_one_transport_replays_over_the_others(server, nobody, path, recorder):
    options = {"model": "double", "record": path}
    with calling(recorder, server, **options) as client:
        recorded = script(client)
    before = Path(path).read_bytes(), Path(f"{path}.json").read_bytes()
    assert recorded[1] == (np.dtype("float32"), [[2, 4]])
    for player in FOUR:
        with calling(player, nobody, **options) as client:
            assert script(client) == recorded
        assert not nobody.called
    assert before == (Path(path).read_bytes(), Path(f"{path}.json").read_bytes())
    if recorder == "grpc":
        for player in ("grpc-futures", "rest-futures"):
            with calling(player, nobody, **options) as client:
                assert script(client) == recorded
            assert not nobody.called


@pytest.mark.parametrize("player", FOUR)
def test_a_recording_without_look_ups_has_the_signatures_of_its_tensors(server, nobody, path, player):
    with calling("grpc", server, model="double", record=path) as client:
        client.predict({"x": np.float32([[1, 2]])})
    assert [episode.method for episode in RecordingFile.read(path).episodes] == ["Predict"]
    recording = Recording(path, repeats=True)
    with calling(player, nobody, model="double", record=recording) as client:
        assert client.predict([[1, 2]]).array.tolist() == [[2, 4]]
        assert client.predict({"x": np.float64([[1, 2]])}, cast=True, validate=True).array.dtype == np.float32
        with pytest.raises(RecordingError, match="GetModelMetadata"):
            client.signatures()
        with pytest.raises(RecordingError, match="none of GetModelStatus"):
            client.status()
        assert not nobody.called
