"""The published stubs call Classify, Regress and MultiInference of our tiny server; TensorFlow parses our examples."""

from __future__ import annotations

import grpc
import pytest

from tfs_client._codec import examples as codec
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS

pytestmark = pytest.mark.peer

ROW = {"i": [1, -2], "f": 1.5, "s": "ä", "b": [b"x", b"\0"], "flag": True}


@pytest.fixture(scope="module")
def stub():
    import peers.official_server  # noqa: F401  imports TensorFlow, quietly
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with Server() as server:
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        with grpc.insecure_channel(server.target) as channel:
            yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def filled(request, signature, *values):
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = signature
    fill(request.input.example_list, values)
    return request


def fill(example_list, values):
    for value in values:
        example_list.examples.add().features.feature["x"].float_list.value.append(value)


def test_classify_and_regress_answer_the_published_stubs(stub):
    from tensorflow_serving.apis import classification_pb2, regression_pb2

    classified = stub.Classify(filled(classification_pb2.ClassificationRequest(), "classify_x_to_y", 2.0), timeout=20)
    (row,) = classified.result.classifications
    assert [(found.label, found.score) for found in row.classes] == [("", 3.0)]
    regressed = stub.Regress(filled(regression_pb2.RegressionRequest(), "regress_x_to_y", 2.0, 10.0), timeout=20)
    assert [row.value for row in regressed.result.regressions] == [3.0, 7.0]
    assert (regressed.model_spec.name, regressed.model_spec.version.value) == ("half_plus_two", 1)
    assert regressed.model_spec.signature_name == "regress_x_to_y"


def test_multi_inference_answers_the_published_stubs(stub):
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for kind in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{kind}")
        task.model_spec.name, task.model_spec.signature_name = "half_plus_two", f"{kind}_x_to_y"
    fill(request.input.example_list, [2.0])
    regressed, classified = stub.MultiInference(request, timeout=20).results
    assert regressed.regression_result.regressions[0].value == 3.0
    assert classified.classification_result.classifications[0].classes[0].score == 3.0
    assert classified.model_spec.signature_name == "classify_x_to_y"


def test_refusals_reach_the_published_stubs(stub):
    from tensorflow_serving.apis import regression_pb2

    with pytest.raises(grpc.RpcError) as caught:
        stub.Regress(filled(regression_pb2.RegressionRequest(), "nope", 1.0), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "No signature was found with the name: nope"
    with pytest.raises(grpc.RpcError) as caught:
        stub.Regress(regression_pb2.RegressionRequest(), timeout=20)
    assert caught.value.details() == "Missing ModelSpec"


def test_tensorflow_parses_our_examples():
    import peers.official_server  # noqa: F401
    import tensorflow as tf

    features = {
        "i": tf.io.FixedLenFeature([2], tf.int64),
        "f": tf.io.FixedLenFeature([], tf.float32),
        "s": tf.io.FixedLenFeature([], tf.string),
        "b": tf.io.VarLenFeature(tf.string),
        "flag": tf.io.FixedLenFeature([], tf.int64),
    }
    found = tf.io.parse_single_example(codec.write(ROW), features)
    assert found["i"].numpy().tolist() == [1, -2]
    assert found["f"].numpy() == 1.5
    assert found["s"].numpy() == "ä".encode()
    assert tf.sparse.to_dense(found["b"]).numpy().tolist() == [b"x", b"\0"]
    assert found["flag"].numpy() == 1


def test_tensorflow_lets_an_examples_own_feature_win_over_the_contexts():
    import peers.official_server  # noqa: F401
    import tensorflow as tf

    (joined,) = codec.read_input(codec.write_input([codec.write({"x": 2.0})], codec.write({"x": 1.0, "y": 5.0})))
    features = {"x": tf.io.FixedLenFeature([], tf.float32), "y": tf.io.FixedLenFeature([], tf.float32)}
    found = tf.io.parse_single_example(joined, features)
    assert (found["x"].numpy(), found["y"].numpy()) == (2.0, 5.0)
