"""ovmsclient, OpenVINO's client for TensorFlow Serving's API. It has blocking calls only, over gRPC and REST."""

from __future__ import annotations

from typing import Any

import numpy as np
import ovmsclient

from comparison.clients.client import MODEL, TIMEOUT, Client, UnsupportedError
from comparison.clients.program import serve


class Ovms(Client):
    def open(self) -> None:
        if self.given.style != "sync":
            raise UnsupportedError("blocking calls only")
        make = ovmsclient.make_http_client if self.given.rest else ovmsclient.make_grpc_client
        self._client = make(self.given.target)
        # It refuses arrays of objects; lists of bytes are what it takes as strings.
        self._inputs = {
            name: array.tolist() if array.dtype == object else array for name, array in self.given.files.inputs.items()
        }

    def call(self) -> Any:
        return self._client.predict(self._inputs, MODEL, model_version=1, timeout=TIMEOUT)  # its default is version 0

    def check(self, answer: Any) -> None:
        super().check(np.asarray(answer, np.float32) if self.given.rest else answer)  # JSON has no dtypes


if __name__ == "__main__":
    serve(Ovms, "ovmsclient", "grpcio", "protobuf", "numpy")
