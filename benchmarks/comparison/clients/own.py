"""tfs_client: ``predict`` with arrays, or with arrays that lie in the request (``client.empty``).

python -m comparison.clients.own arrays|empty
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import tfs_client
from comparison.clients.client import MODEL, TIMEOUT, Client, Future, Given, UnsupportedError
from comparison.clients.program import serve
from comparison.files import Arrays
from tfs_client import AsyncPredictClient, PredictClient, Prediction


class _Output:
    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Any:
        prediction: Prediction = self._future.result()
        return prediction["y"]


class Own(Client):
    """``predict({"x": array})``."""

    def open(self) -> None:
        self._client = PredictClient(self._target, model=MODEL, timeout=TIMEOUT)
        self._inputs = self.given.files.inputs

    async def open_aio(self) -> None:
        self._client_aio = AsyncPredictClient(self._target, model=MODEL, timeout=TIMEOUT)
        self._inputs = self.given.files.inputs

    @property
    def _target(self) -> str:
        return f"http://{self.given.target}" if self.given.rest else self.given.target

    def call(self) -> Any:
        return self._client.predict(self._inputs)["y"]

    def start(self) -> Future:
        return _Output(self._client.predict_future(self._inputs))

    async def call_aio(self) -> Any:
        return (await self._client_aio.predict(self._inputs))["y"]

    def close(self) -> None:
        self._client.close()

    async def close_aio(self) -> None:
        await self._client_aio.close()


class Empty(Own):
    """The arrays lie in the request and are filled before the calls; a call sends them as they are."""

    def open(self) -> None:
        shapes = self._shapes(PredictClient)
        super().open()
        self._inputs = _filled(self._client.empty(shapes), self._inputs)

    async def open_aio(self) -> None:
        shapes = self._shapes(AsyncPredictClient)
        await super().open_aio()
        self._inputs = _filled(await self._client_aio.empty(shapes), self._inputs)

    def _shapes(self, kind: type) -> dict[str, tuple[tuple[int, ...], str]]:
        if not hasattr(kind, "empty"):
            raise UnsupportedError("this version has no client.empty")
        if self.given.rest:
            raise UnsupportedError("gRPC only")
        arrays = self.given.files.inputs
        if any(array.dtype == object for array in arrays.values()):
            raise UnsupportedError("strings have no fixed size")
        return {name: (array.shape, array.dtype.name) for name, array in arrays.items()}


def _filled(batch: Any, arrays: Arrays) -> Any:
    for name, array in arrays.items():
        batch[name][...] = array
    return batch


def make(given: Given) -> Client:
    """The variant that the command line names."""
    return {"arrays": Own, "empty": Empty}[sys.argv[1]](given)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the JSON requests are large on purpose
    serve(make, "tfs-client", "grpcio", "protobuf", "numpy", imported=tfs_client.__file__)
