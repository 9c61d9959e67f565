"""GetModelMetadata: the signatures of a model version."""

from __future__ import annotations

from collections.abc import Callable

from tfs_client._codec import field_limits, signature_defs
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.signature_defs import SignatureInfo
from tfs_client.errors import DecodeError, unreadable
from tfs_client.signatures import Signatures, signature_of


class GetModelMetadata:
    """One GetModelMetadata call (tensorflow_serving/apis/prediction_service.proto)."""

    path = "/tensorflow.serving.PredictionService/GetModelMetadata"
    method = "GetModelMetadata"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request, which is small and in one part."""
        return signature_defs.write_request(self.spec)

    def read(self, reply: bytes) -> Signatures:
        """Return all signatures of the version that answered. Raises DecodeError."""
        field_limits.check(reply, field_limits.METADATA, f"the reply of {self.method}")
        return self._signatures(signature_defs.read_response, reply)

    def write_rest(self) -> tuple[str, bytes]:
        """Return the request, which has no body."""
        from tfs_client._codec import rest_messages  # here and below: few calls use REST

        return f"GET {rest_messages.path(self.spec, '/metadata')}", b""

    def read_rest(self, reply: bytes) -> Signatures:
        """Return all signatures of the version that answered. Raises DecodeError."""
        from tfs_client._codec import rest_messages

        return self._signatures(rest_messages.read_metadata, reply)

    def _signatures(
        self, read: Callable[[bytes], tuple[ModelSpec, dict[str, SignatureInfo]]], reply: bytes
    ) -> Signatures:
        try:
            spec, found = read(reply)
            return signatures_of(spec, found, self.spec.name)
        except DecodeError as error:
            failure = DecodeError(f"the reply of {self.method} for model {self.spec.name!r} cannot be read: {error}")
            failure.foreign = error.foreign
            raise failure from error.__cause__
        except Exception as error:
            raise unreadable(f"the reply of {self.method} for model {self.spec.name!r}", error) from error


def signatures_of(spec: ModelSpec, found: dict[str, SignatureInfo], model: str) -> Signatures:
    """Build Signatures from what was read; ``model`` is the name where that has none."""
    signatures = {name: signature_of(info) for name, info in found.items()}
    return Signatures(signatures, model=spec.name or model, version=spec.version)
