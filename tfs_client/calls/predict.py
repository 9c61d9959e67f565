"""Predict: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from tfs_client.codec import predict
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.values import as_array
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures


class Predict:
    """One Predict call (tensorflow_serving/apis/prediction_service.proto)."""

    __slots__ = ("_inputs", "_outputs", "_started", "_written", "spec")

    path = "/tensorflow.serving.PredictionService/Predict"
    method = "Predict"

    def __init__(self, spec: ModelSpec, inputs: Mapping[str, Any], outputs: Sequence[str] = ()) -> None:
        self.spec = spec
        self._inputs = inputs
        self._outputs = outputs
        self._started = self._written = 0.0

    def write(self, join: predict.Join = predict.plain_join) -> bytes:
        """The request. Raises EncodeError, naming the input, for values that are no tensor."""
        self._started = perf_counter()
        arrays = {}
        for alias, values in self._inputs.items():
            try:
                arrays[alias] = as_array(values)
            except EncodeError as error:
                raise EncodeError(f"input {alias!r}: {error}") from error.__cause__
        request = predict.write_request(self.spec, arrays, self._outputs, join=join)
        self._written = perf_counter()
        return request

    def elapsed(self) -> float:
        """Seconds since the request began to be written."""
        return perf_counter() - self._started

    def blame(self, signatures: Signatures) -> str:
        """What is wrong with the inputs, or with the signature's name, as far as the model's signatures tell."""
        name = self.spec.signature or DEFAULT_SIGNATURE
        if name not in signatures:
            return f"The model has the signatures {', '.join(sorted(signatures)) or 'none'}."
        signature = signatures[name]
        arrays = {alias: as_array(values) for alias, values in self._inputs.items()}
        if difference := signature.mismatch(arrays):
            return f"By its signature, {difference}."
        unknown = [alias for alias in self._outputs if alias not in signature.outputs]
        return f"The signature has the outputs {', '.join(sorted(signature.outputs))}." if unknown else ""

    def read(self, reply: bytes) -> Prediction:
        """The outputs, as views of the reply where its encoding allows. Raises DecodeError."""
        arrived = perf_counter()
        try:
            spec, outputs = predict.read_response(reply)
        except DecodeError as error:
            raise DecodeError(f"the reply of Predict for model {self.spec.name!r} cannot be read: {error}") from None
        clock = (self._started, self._written, arrived, perf_counter())
        return Prediction(outputs, answered=spec, asked=self.spec, clock=clock)
