"""GetModelMetadata: the signatures of a model version."""

from __future__ import annotations

from typing import Any

from tfs_client.codec import signature_defs
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.predict import Join, plain_join
from tfs_client.errors import DecodeError
from tfs_client.signatures import Signature, Signatures, TensorSpec


class GetModelMetadata:
    """One GetModelMetadata call (tensorflow_serving/apis/prediction_service.proto)."""

    path = "/tensorflow.serving.PredictionService/GetModelMetadata"
    method = "GetModelMetadata"

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def write(self, join: Join = plain_join) -> bytes:
        """The request, which is small and in one part."""
        return signature_defs.write_request(self._spec)

    def read(self, reply: bytes) -> Signatures:
        """All signatures of the version that answered. Raises DecodeError."""
        try:
            spec, found = signature_defs.read_response(reply)
        except DecodeError as error:
            raise DecodeError(
                f"the reply of {self.method} for model {self._spec.name!r} cannot be read: {error}"
            ) from None
        signatures = {
            name: Signature(_specs(inputs), _specs(outputs), method, optional=frozenset(defaulted))
            for name, (inputs, outputs, method, defaulted) in found.items()
        }
        return Signatures(signatures, model=spec.name or self._spec.name, version=spec.version)


def _specs(infos: dict[str, Any]) -> dict[str, TensorSpec]:
    return {alias: TensorSpec(row, shape, tensor_name=name) for alias, (row, shape, name) in infos.items()}
