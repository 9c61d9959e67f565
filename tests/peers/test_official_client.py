"""The published stubs (tensorflow_serving.apis) against our tiny server: right answers, right errors."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from peers.arrays import DTYPES, values

from tfs_client import TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def server():
    server = FakeServer()
    server.add_model(
        "several",
        lambda a, b, text: {"sum": a + b, "loud_bytes": np.array([value + b"!" for value in text], object)},
        inputs={"a": VECTOR, "b": VECTOR, "text": TensorSpec("string", (None,))},
        outputs={"sum": VECTOR, "loud_bytes": TensorSpec("string", (None,))},
        defaults={"b": [10.0]},
        version=3,
    )
    for name in DTYPES:
        server.add_model(
            "echo", lambda x: x, inputs={"x": TensorSpec(name)}, outputs={"y": TensorSpec(name)}, signature=name
        )
    with server:
        yield server


class Stubs:
    """The published stubs, with requests made from keywords."""

    def __init__(self, target):
        import peers.official_server  # noqa: F401  imports TensorFlow, quietly
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.channel = grpc.insecure_channel(target)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, inputs, outputs=(), **spec):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=outputs)
        self.fill(request.model_spec, spec)
        for alias, value in inputs.items():
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
        return self.predictions.Predict(request, timeout=20)

    def fill(self, message, spec):
        for name, value in spec.items():
            if name == "version":
                message.version.value = value
            else:
                setattr(message, name, value)


@pytest.fixture
def stubs(server):
    stubs = Stubs(server.target)
    yield stubs
    stubs.channel.close()


def arrays(response):
    import tensorflow as tf

    return {alias: tf.make_ndarray(proto) for alias, proto in response.outputs.items()}


def test_answers_are_read_by_tensorflow(stubs):
    response = stubs.predict({"a": np.float32([1, 2]), "b": np.float32([3, 4]), "text": ["x", "y"]}, name="several")
    found = arrays(response)
    assert found["sum"].tolist() == [4, 6]
    assert found["loud_bytes"].tolist() == [b"x!", b"y!"]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("several", 3, "serving_default")


def test_defaults_and_output_filter(stubs):
    response = stubs.predict({"a": np.float32([1]), "text": ["x"]}, ["sum"], name="several")
    assert {alias: array.tolist() for alias, array in arrays(response).items()} == {"sum": [11]}


@pytest.mark.parametrize("shape", [(), (4,), (0, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_as_tensorflow_sent_it(stubs, dtype, shape):
    array = values(dtype, shape)
    back = arrays(stubs.predict({"x": array}, name="echo", signature_name=dtype))["y"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_tensor_content_is_read_by_tensorflow_too(official):
    with FakeServer(ServerConfig(tensor_content=True)) as server:
        server.add_model("echo", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        stubs = Stubs(server.target)
        assert arrays(stubs.predict({"x": np.float32([1, 2])}, name="echo"))["y"].tolist() == [1, 2]
        stubs.channel.close()


@pytest.mark.parametrize(
    ("inputs", "outputs", "spec", "code", "text"),
    [
        ({}, (), {}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({}, (), {"name": "ghost"}, "NOT_FOUND", "Servable not found for request: Latest(ghost)"),
        ({}, (), {"name": "echo", "version": 5}, "NOT_FOUND", "Servable not found for request: Specific(echo, 5)"),
        (
            {},
            (),
            {"name": "echo", "version_label": "x"},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: x",
        ),
        (
            {},
            (),
            {"name": "echo"},
            "FAILED_PRECONDITION",
            'Serving signature key "serving_default" not found.',
        ),
        (
            {"x": np.float64([1])},
            (),
            {"name": "echo", "signature_name": "float32"},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
        ),
        (
            {"x": np.float32([1])},
            ("z",),
            {"name": "echo", "signature_name": "float32"},
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
    ],
)
def test_refusals_reach_the_stubs_with_code_and_text(stubs, inputs, outputs, spec, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        stubs.predict(inputs, outputs, **spec)
    assert (caught.value.code().name, caught.value.details()) == (code, text)


def test_metadata_is_unpacked_by_the_published_messages(stubs):
    import tensorflow as tf
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "several"
    response = stubs.predictions.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert set(default.inputs) == {"a", "b", "text"}
    assert default.inputs["text"].dtype == tf.string.as_datatype_enum
    assert tf.TensorShape(default.inputs["a"].tensor_shape).as_list() == [None]
    assert tf.make_ndarray(default.defaults["b"]).tolist() == [10]


def test_status_is_read_by_the_published_messages(stubs):
    from tensorflow_serving.apis import get_model_status_pb2

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "several"
    (entry,) = stubs.models.GetModelStatus(request, timeout=20).model_version_status
    assert entry.version == 3
    assert entry.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert entry.status.error_code == 0


def test_methods_of_other_services_are_unimplemented(stubs):
    from tensorflow_serving.apis import session_service_pb2

    run = stubs.channel.unary_unary(
        "/tensorflow.serving.SessionService/SessionRun",
        request_serializer=session_service_pb2.SessionRunRequest.SerializeToString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        run(session_service_pb2.SessionRunRequest(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
