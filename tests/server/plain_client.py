"""A plain protobuf client: replies are checked field by field, not through our own client."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tfs_client import make_tensor_proto
from tfs_client.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


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
        return self.channel.unary_unary(path)(data, timeout=timeout)  # type: ignore[call-arg]


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


def refused(call: Any, *args: Any, **options: Any) -> tuple[str, str | None]:
    """The code and text with which a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **options)
    return caught.value.code().name, caught.value.details()
