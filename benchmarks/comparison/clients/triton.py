"""tritonclient: the same tensors in its own protocol, KServe's open inference protocol over gRPC."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import np_to_triton_dtype

from comparison.clients.client import MODEL, TIMEOUT, Client, Future, UnsupportedError
from comparison.clients.program import serve


class _Output:
    def __init__(self) -> None:
        self._done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def finished(self, result: Any, error: Exception | None) -> None:
        if error is None:
            self._done.set_result(result)
        else:
            self._done.set_exception(error)

    def result(self) -> Any:
        return self._done.result(TIMEOUT).as_numpy("y")


class Triton(Client):
    def open(self) -> None:
        self._refuse_rest()
        self._client = tritonclient.grpc.InferenceServerClient(self.given.target)
        self._arrays = self.given.files.inputs

    async def open_aio(self) -> None:
        self._refuse_rest()
        self._client_aio = tritonclient.grpc.aio.InferenceServerClient(self.given.target)
        self._arrays = self.given.files.inputs

    def _refuse_rest(self) -> None:
        if self.given.rest:
            raise UnsupportedError("it does not speak TensorFlow Serving's REST API")

    def _inputs(self, module: Any) -> list[Any]:
        inputs = []
        for name, array in self._arrays.items():
            value = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            value.set_data_from_numpy(array)
            inputs.append(value)
        return inputs

    def call(self) -> Any:
        inputs = self._inputs(tritonclient.grpc)
        return self._client.infer(MODEL, inputs, client_timeout=TIMEOUT).as_numpy("y")

    def start(self) -> Future:
        output = _Output()
        self._client.async_infer(MODEL, self._inputs(tritonclient.grpc), output.finished, client_timeout=TIMEOUT)
        return output

    async def call_aio(self) -> Any:
        inputs = self._inputs(tritonclient.grpc.aio)
        return (await self._client_aio.infer(MODEL, inputs, client_timeout=TIMEOUT)).as_numpy("y")

    def close(self) -> None:
        self._client.close()

    async def close_aio(self) -> None:
        await self._client_aio.close()


if __name__ == "__main__":
    serve(Triton, "tritonclient", "grpcio", "protobuf", "numpy")
