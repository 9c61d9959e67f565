"""Files of tfs-admin and TensorFlow: it reads warmup requests, runs them when it loads a version, and served signatures
are those of the exported file."""

from __future__ import annotations

import numpy as np
import pytest
from peers.exported import quiet, script
from served_program import Program

from tfs_client import PredictClient
from tfs_client.cli.admin import command

pytestmark = pytest.mark.peer

MODEL = "half_plus_two"
FILE = "assets.extra/tf_serving_warmup_requests"
X = np.float32([[1], [2], [5]])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / MODEL
    with quiet():
        script().half_plus_two(base / "123")
    return base


@pytest.fixture(scope="module")
def recording(base, tmp_path_factory):
    """Calls of the model, recorded by a client."""
    folder = tmp_path_factory.mktemp("recorded")
    program = Program(folder, f"--model_name={MODEL}", f"--model_base_path={base}")
    try:
        path = folder / "calls.tfrecord"
        with PredictClient(program.target, model=MODEL, timeout=60, record=path) as client:
            client.predict({"x": X})
            client.regress([{"x": 2.0}], signature="regress_x_to_y")
            client.classify([{"x": 2.0}, {"x": 3.0}], signature="classify_x_to_y")
            with pytest.raises(Exception, match="none"):
                client.predict({"x": X}, signature="none")
        module = folder / "m.py"
        assert command.main(["typed-client", str(base), "-o", str(module)]) == 0
        assert command.main(["typed-client", MODEL, "--server", program.target, "-o", str(module), "--check"]) == 0
    finally:
        program.close()
    return path


def test_tensorflow_reads_the_file_and_runs_it_when_it_loads_the_version(base, recording, tmp_path, capsys):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    assert command.main(["warmup", str(base), "--from", str(recording), "--overwrite"]) == 0
    records = [each.numpy() for each in tf.data.TFRecordDataset(str(base / "123" / FILE))]
    predict, regress, classify = map(prediction_log_pb2.PredictionLog.FromString, records)
    np.testing.assert_array_equal(tf.make_ndarray(predict.predict_log.request.inputs["x"]), X)
    assert regress.regress_log.request.model_spec.signature_name == "regress_x_to_y"
    assert len(classify.classify_log.request.input.example_list.examples) == 2
    assert not any(log.ListFields()[0][1].HasField("response") for log in (predict, regress, classify))

    program = Program(
        tmp_path,
        f"--model_name={MODEL}",
        f"--model_base_path={base}",
        ready="Number of warmup records read: 3.",
    )
    try:
        with PredictClient(program.target, model=MODEL, timeout=60) as client:
            client.wait_until_ready(60)
            np.testing.assert_array_equal(client.predict({"x": X}).array, X / 2 + 2)
    finally:
        program.close()


def test_a_file_of_tensorflow_is_checked(base, tmp_path, capsys):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    good, bad = prediction_log_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    for log, dtype in ((good, np.float32), (bad, np.float64)):
        log.predict_log.request.model_spec.name = MODEL
        log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(X.astype(dtype)))
    path = tmp_path / "requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(good.SerializeToString())
    assert command.main(["warmup", str(base), "--check", "-o", str(path)]) == 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(good.SerializeToString())
        writer.write(bad.SerializeToString())
    assert command.main(["warmup", str(base), "--check", "-o", str(path)]) == 9
    assert "record 1 at offset" in capsys.readouterr().out


def test_a_request_from_the_signature_warms_the_version_up(base, tmp_path):
    assert command.main(["warmup", str(base), "--from-signature", "--batch-size", "4", "--overwrite"]) == 0
    program = Program(
        tmp_path,
        f"--model_name={MODEL}",
        f"--model_base_path={base}",
        ready="Number of warmup records read: 1.",
    )
    program.close()
