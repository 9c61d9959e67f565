"""Raw grpcio: prepared bytes out, the reply discarded. The floor for every client over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from bare_server import UNLIMITED

from comparison.clients.client import TIMEOUT, Client, Future, UnsupportedError, WrongAnswerError
from comparison.clients.program import serve

PATH = "/tensorflow.serving.PredictionService/Predict"


class RawGrpc(Client):
    def open(self) -> None:
        if self.given.rest:
            raise UnsupportedError("gRPC only")
        self._request = self.given.files.request
        self._channel = grpc.insecure_channel(self.given.target, options=UNLIMITED)
        self._predict = self._channel.unary_unary(PATH)

    async def open_aio(self) -> None:
        self._request = self.given.files.request
        self._channel_aio = grpc.aio.insecure_channel(self.given.target, options=UNLIMITED)
        self._predict_aio = self._channel_aio.unary_unary(PATH)

    def call(self) -> Any:
        return self._predict(self._request, timeout=TIMEOUT)

    def start(self) -> Future:
        return self._predict.future(self._request, timeout=TIMEOUT)

    async def call_aio(self) -> Any:
        return await self._predict_aio(self._request, timeout=TIMEOUT)

    def check(self, answer: Any) -> None:
        if answer != self.given.files.reply:
            raise WrongAnswerError(f"expected {len(self.given.files.reply)} bytes, got {len(answer)} others")

    def close(self) -> None:
        self._channel.close()

    async def close_aio(self) -> None:
        await self._channel_aio.close()


if __name__ == "__main__":
    serve(RawGrpc, "grpcio")
