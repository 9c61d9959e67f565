"""GetModelMetadata: the signatures of a model version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfs_client.codec import field_limits, signature_defs
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.predict import Join, plain_join
from tfs_client.errors import DecodeError, unreadable
from tfs_client.signatures import Signature, Signatures, TensorSpec


class GetModelMetadata:
    """One GetModelMetadata call (tensorflow_serving/apis/prediction_service.proto)."""

    path = "/tensorflow.serving.PredictionService/GetModelMetadata"
    method = "GetModelMetadata"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def write(self, join: Join = plain_join) -> bytes:
        """The request, which is small and in one part."""
        return signature_defs.write_request(self.spec)

    def read(self, reply: bytes) -> Signatures:
        """All signatures of the version that answered. Raises DecodeError."""
        field_limits.check(reply, field_limits.METADATA, f"the reply of {self.method}")
        return self._signatures(signature_defs.read_response, reply)

    def write_rest(self) -> tuple[str, bytes]:
        """The request; it has no body."""
        from tfs_client.codec import rest_messages  # here and below: few call over REST

        return f"GET {rest_messages.path(self.spec, '/metadata')}", b""

    def read_rest(self, reply: bytes) -> Signatures:
        """All signatures of the version that answered. Raises DecodeError."""
        from tfs_client.codec import rest_messages

        return self._signatures(rest_messages.read_metadata, reply)

    def _signatures(self, read: Callable[[bytes], tuple[ModelSpec, dict[str, Any]]], reply: bytes) -> Signatures:
        try:
            spec, found = read(reply)
            return signatures_of(spec, found, self.spec.name)
        except DecodeError as error:
            failure = DecodeError(f"the reply of {self.method} for model {self.spec.name!r} cannot be read: {error}")
            failure.foreign = error.foreign
            raise failure from error.__cause__
        except Exception as error:
            raise unreadable(f"the reply of {self.method} for model {self.spec.name!r}", error) from error


def signatures_of(spec: ModelSpec, found: dict[str, Any], model: str) -> Signatures:
    """Signatures of what was read; of the ``model`` where that does not name one."""
    signatures = {
        name: Signature(_specs(inputs), _specs(outputs), method, optional=frozenset(defaulted))
        for name, (inputs, outputs, method, defaulted) in found.items()
    }
    return Signatures(signatures, model=spec.name or model, version=spec.version)


def _specs(infos: dict[str, Any]) -> dict[str, TensorSpec]:
    return {alias: TensorSpec(row, shape, tensor_name=name) for alias, (row, shape, name) in infos.items()}
