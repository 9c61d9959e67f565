"""tfs-serve with SavedModels: the official stubs, raw HTTP and PredictClient agree on every call."""

from __future__ import annotations

import grpc
import httpx
import numpy as np
import pytest
from peers.exported import quiet, script
from served_program import Program

from tfs_client import PredictClient

pytestmark = pytest.mark.peer

X = np.float32([1, 2, 5])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    with quiet():
        script().half_plus_two(base / "half_plus_two" / "123")
    program = Program(
        tmp_path_factory.mktemp("program"),
        "--model_name=half_plus_two",
        f"--model_base_path={base / 'half_plus_two'}",
        "--enable_batching",
        rest=True,
    )
    yield program
    program.close()


def test_every_caller_gets_the_same_prediction(served):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    want = (X / 2 + 2).tolist()
    with PredictClient(served.target, model="half_plus_two", timeout=60) as client:
        prediction = client.predict({"x": X})
        assert prediction.array.reshape(-1).tolist() == want
        version = prediction.model.version
    with PredictClient(served.rest_url, model="half_plus_two", timeout=60) as client:
        assert client.predict({"x": X}).array.reshape(-1).tolist() == want
    reply = httpx.post(f"{served.rest_url}/v1/models/half_plus_two:predict", json={"instances": X.tolist()}, timeout=60)
    assert reply.json() == {"predictions": want}
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(X))
    with grpc.insecure_channel(served.target) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 60)
    assert tf.make_ndarray(response.outputs["y"]).reshape(-1).tolist() == want
    assert response.model_spec.version.value == version


def test_every_caller_gets_the_same_regression_and_classification(served):
    import tensorflow as tf
    from tensorflow_serving.apis import classification_pb2, prediction_service_pb2_grpc, regression_pb2

    examples = [{"x": 2.0}, {"x": 10.0}]
    for target in (served.target, served.rest_url):
        with PredictClient(target, model="half_plus_two", timeout=60) as client:
            assert client.regress(examples, signature="regress_x_to_y").values == (3.0, 7.0)
            classes = client.classify(examples, signature="classify_x_to_y").classes
            assert [row[0].score for row in classes] == [3.0, 7.0]
    url = f"{served.rest_url}/v1/models/half_plus_two:regress"
    body = {"signature_name": "regress_x_to_y", "examples": examples}
    assert httpx.post(url, json=body, timeout=60).json() == {"results": [3.0, 7.0]}
    with grpc.insecure_channel(served.target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for request, signature, call in (
            (regression_pb2.RegressionRequest(), "regress_x_to_y", stub.Regress),
            (classification_pb2.ClassificationRequest(), "classify_x_to_y", stub.Classify),
        ):
            request.model_spec.name, request.model_spec.signature_name = "half_plus_two", signature
            for one in examples:
                feature = tf.train.Feature(float_list=tf.train.FloatList(value=[one["x"]]))
                request.input.example_list.examples.append(
                    tf.train.Example(features=tf.train.Features(feature={"x": feature}))
                )
            result = call(request, 60).result
            if signature.startswith("regress"):
                assert [row.value for row in result.regressions] == [3.0, 7.0]
            else:
                assert [row.classes[0].score for row in result.classifications] == [3.0, 7.0]


def test_status_and_signatures_agree_over_both_ports(served):
    found = []
    for target in (served.target, served.rest_url):
        with PredictClient(target, model="half_plus_two", timeout=60) as client:
            found.append((client.status(), dict(client.signatures())))
    assert found[0] == found[1]
    assert {"serving_default", "regress_x_to_y", "classify_x_to_y"} <= found[0][1].keys()
