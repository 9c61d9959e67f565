"""A plain protobuf client: what the server sends is looked at field by field, not through our own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tfs_client import TensorSpec, make_tensor_proto
from tfs_client.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


class Plain:
    """Stubs of both services on one channel; requests are made from keywords."""

    def __init__(self, target: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(target, options=options)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, spec: dict[str, Any] | None, inputs: dict[str, Any] = {}, outputs=()):  # noqa: B006
        request = predict_pb2.PredictRequest(output_filter=outputs)
        fill(request.model_spec, spec)
        for alias, value in inputs.items():
            proto = value if hasattr(value, "SerializeToString") else make_tensor_proto(value)
            request.inputs[alias].CopyFrom(proto)
        return self.predictions.Predict(request, timeout=20)

    def metadata(self, spec: dict[str, Any] | None, fields=("signature_def",)):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        fill(request.model_spec, spec)
        return self.predictions.GetModelMetadata(request, timeout=20)

    def status(self, spec: dict[str, Any] | None):
        request = get_model_status_pb2.GetModelStatusRequest()
        fill(request.model_spec, spec)
        return self.models.GetModelStatus(request, timeout=20)

    def raw(self, path: str, data: bytes, timeout: float = 20) -> bytes:
        return self.channel.unary_unary(path)(data, timeout=timeout)


def fill(message: Any, spec: dict[str, Any] | None) -> None:
    """Set the fields of a ModelSpec; None leaves the whole message away."""
    if spec is None:
        return
    message.SetInParent()
    for name, value in spec.items():
        if name == "version":
            message.version.value = value
        else:
            setattr(message, name, value)


def refused(call: Any, *args: Any, **options: Any) -> tuple[str, str]:
    """The code and text with which a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **options)
    return caught.value.code().name, caught.value.details()


@pytest.fixture
def plain(fake_server: FakeServer) -> Iterator[Plain]:
    """A plain client of the fake server."""
    client = Plain(fake_server.target)
    yield client
    client.channel.close()


@pytest.fixture(name="refused")
def refused_fixture():
    return refused


@pytest.fixture
def connect() -> Iterator[Any]:
    """Makes plain clients of other servers."""
    clients = []

    def make(target: str) -> Plain:
        clients.append(Plain(target))
        return clients[-1]

    yield make
    for client in clients:
        client.channel.close()


@pytest.fixture
def models(fake_server: FakeServer) -> FakeServer:
    """The models that the checks are made with.

    ``two``: inputs a, b. ``opt``: a, b and c, with a default for c. ``m``: two versions, labels, gives its number.
    """
    vectors = {"a": VECTOR, "b": VECTOR}
    outs = {"y": VECTOR, "z": VECTOR}
    fake_server.add_model(
        "two", lambda a, b: {"y": a + b, "z": a - b}, inputs=vectors, outputs=outs, check_shapes=False
    )
    fake_server.add_model(
        "opt",
        lambda a, b, c: {"y": a + b + c, "z": c},
        inputs=vectors | {"c": VECTOR},
        outputs=outs,
        defaults={"c": np.float32([100])},
    )
    for version in (1, 2):
        fake_server.add_model(
            "m", lambda n=version: np.float32(n), inputs={}, outputs={"y": TensorSpec("float32", ())}, version=version
        )
    fake_server.set_label("m", "stable", 1)
    fake_server.set_label("m", "gone", 9)
    return fake_server
