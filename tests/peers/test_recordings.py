"""Recordings and TensorFlow: each reads the other's files, and a model server accepts them as warmup requests."""

from __future__ import annotations

import numpy as np
import pytest
from peers.exported import quiet, script
from served_program import Program

from tfs_client import PredictClient, TensorSpec
from tfs_client.recordings import Recording, RecordingFile
from tfs_client.recordings.contents import inputs_of, outputs_of
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.embedded import MODELS
from tfs_client.server.lifecycle.warmup import FILE

pytestmark = pytest.mark.peer
VECTOR = TensorSpec("float32", (None,))
DOUBLE = FunctionSignature(lambda x: {"y": 2 * x}, {"x": VECTOR}, {"y": VECTOR})


@pytest.fixture(scope="module")
def tf():
    with quiet():
        import tensorflow

    return tensorflow


def record(path, transport="target"):
    """A recording with every kind of call, failed ones among them."""
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("m", {**MODELS["half_plus_two"](), "serving_default": DOUBLE})
        with PredictClient(getattr(server, transport), model="m", record=path) as client:
            for count in range(1, 4):
                client.predict({"x": np.arange(count, dtype=np.float32)})
            client.signatures()
            with pytest.raises(Exception, match="NOT_FOUND"):
                client.predict({"x": np.float32([1])}, model="missing")
            client.classify([{"x": 2.0}, {"x": 3.0}], signature="classify_x_to_y")
            client.regress([{"x": 2.0}], signature="regress_x_to_y")
            if transport == "target":
                client.multi_inference([{"x": 2.0}], tasks={"regress_x_to_y": "regress", "classify_x_to_y": "classify"})


@pytest.mark.parametrize("transport", ["target", "rest_url"])
def test_tensorflow_reads_our_recordings(tf, tmp_path, transport):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    path = str(tmp_path / "calls")
    record(path, transport)
    logs = [PredictionLog.FromString(data) for data in tf.data.TFRecordDataset(path).as_numpy_iterator()]
    kinds = ["predict_log"] * 3 + ["classify_log", "regress_log"] + ["multi_inference_log"] * (transport == "target")
    assert [log.WhichOneof("log_type") for log in logs] == kinds
    for count, log in enumerate(logs[:3], 1):
        assert log.predict_log.request.model_spec.name == "m"
        assert tf.make_ndarray(log.predict_log.request.inputs["x"]).tolist() == list(range(count))
        assert tf.make_ndarray(log.predict_log.response.outputs["y"]).tolist() == list(range(0, 2 * count, 2))
    assert [row.classes[0].score for row in logs[3].classify_log.response.result.classifications] == [3, 3.5]
    assert logs[4].regress_log.response.result.regressions[0].value == 3


def test_we_read_the_recordings_of_tensorflow(tf, tmp_path):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    path = str(tmp_path / "calls")
    with tf.io.TFRecordWriter(path) as writer:
        for count in range(1, 4):
            log = PredictionLog()
            log.log_metadata.model_spec.name = "m"
            request = log.predict_log.request
            request.model_spec.name = "m"
            request.model_spec.version.value = count
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.arange(count, dtype=np.float32)))
            if count != 2:
                log.predict_log.response.outputs["y"].CopyFrom(tf.make_tensor_proto(np.ones(count, np.float32)))
            writer.write(log.SerializeToString())
    episodes = RecordingFile.read(path).episodes
    assert [episode.spec.version for episode in episodes] == [1, 2, 3]
    assert [inputs_of(episode)["x"].tolist() for episode in episodes] == [[0], [0, 1], [0, 1, 2]]
    assert episodes[1].reply is None
    assert outputs_of(episodes[2])["y"].tolist() == [1, 1, 1]
    with PredictClient("127.0.0.1:1", model="m", record=Recording(path, match=("model", "inputs"))) as client:
        assert client.predict({"x": [0.0]})["y"].tolist() == [1]
        with pytest.raises(Exception, match="a warmup request, without a reply"):
            client.predict({"x": [0.0, 1.0]})


@pytest.mark.parametrize("transport", ["target", "rest_url"])
def test_a_recording_is_a_warmup_file(tf, tmp_path, transport):
    version = tmp_path / "m" / "123"
    with quiet():
        script().half_plus_two(version)
    (version / FILE).parent.mkdir()
    record(str(version / FILE), transport)
    program = Program(tmp_path, "--model_name=m", f"--model_base_path={version.parent}")
    try:
        count = 6 if transport == "target" else 5
        assert f"Number of warmup records read: {count}." in program.log
        with PredictClient(program.target, model="m", timeout=60) as client:
            assert client.predict({"x": np.float32([4])})["y"].tolist() == [4]
    finally:
        program.close()
