"""tensorflow-serving-api with TensorFlow: make_tensor_proto, the generated stub, make_ndarray, as its guides show."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import grpc.aio
import tensorflow as tf
from bare_server import UNLIMITED
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from comparison.clients.client import MODEL, TIMEOUT, Client, Future, UnsupportedError
from comparison.clients.program import serve


class _Output:
    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Any:
        return _output(self._future.result())


class TensorFlowClient(Client):
    def open(self) -> None:
        if self.given.rest:
            raise UnsupportedError("gRPC only")
        self._inputs = self.given.files.inputs
        self._channel = grpc.insecure_channel(self.given.target, options=UNLIMITED)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    async def open_aio(self) -> None:
        self._inputs = self.given.files.inputs
        self._channel_aio = grpc.aio.insecure_channel(self.given.target, options=UNLIMITED)
        self._stub_aio = prediction_service_pb2_grpc.PredictionServiceStub(self._channel_aio)

    def _request(self) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        for name, array in self._inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        return request

    def call(self) -> Any:
        return _output(self._stub.Predict(self._request(), timeout=TIMEOUT))

    def start(self) -> Future:
        return _Output(self._stub.Predict.future(self._request(), timeout=TIMEOUT))

    async def call_aio(self) -> Any:
        return _output(await self._stub_aio.Predict(self._request(), timeout=TIMEOUT))

    def close(self) -> None:
        self._channel.close()

    async def close_aio(self) -> None:
        await self._channel_aio.close()


def _output(reply: Any) -> Any:
    return tf.make_ndarray(reply.outputs["y"])


if __name__ == "__main__":
    serve(TensorFlowClient, "tensorflow-serving-api", "tensorflow", "grpcio", "protobuf", "numpy")
