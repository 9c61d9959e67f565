"""GetModelStatus: the versions of a model and their states."""

from __future__ import annotations

from tfs_client._codec import field_limits
from tfs_client._codec.model_spec import ModelSpec, write
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.protobuf_messages import parse
from tfs_client.errors import StatusCode, reads
from tfs_client.results import ModelStatus, State, VersionStatus


class GetModelStatus:
    """One GetModelStatus call (tensorflow_serving/apis/model_service.proto). The server ignores version labels here."""

    path = "/tensorflow.serving.ModelService/GetModelStatus"
    method = "GetModelStatus"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request, which is small and in one part."""
        from tfs_client.protos.tensorflow_serving.apis import get_model_status_pb2, model_pb2

        spec = model_pb2.ModelSpec.FromString(write(self.spec))
        return get_model_status_pb2.GetModelStatusRequest(model_spec=spec).SerializeToString()

    @reads("the reply of GetModelStatus")
    def read(self, reply: bytes) -> ModelStatus:
        """Return the versions, highest first. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis import get_model_status_pb2

        what = f"the reply of {self.method}"
        field_limits.check(reply, field_limits.STATUS, what, most=field_limits.MOST_OF_STATUS)
        response = parse(get_model_status_pb2.GetModelStatusResponse, reply, what)
        versions = [
            VersionStatus(
                entry.version, State.of(entry.state), StatusCode.of(entry.status.error_code), entry.status.error_message
            )
            for entry in response.model_version_status
        ]
        return self._status(versions)

    def write_rest(self) -> tuple[str, bytes]:
        """Return the request, which has no body."""
        from tfs_client._codec import rest_messages  # here and below: few calls use REST

        return f"GET {rest_messages.path(self.spec)}", b""

    @reads("the reply of GetModelStatus")
    def read_rest(self, reply: bytes) -> ModelStatus:
        """Return the versions, highest first; none if the server only reports whether the model is ready.

        Raises DecodeError.
        """
        from tfs_client._codec import rest_messages

        found = rest_messages.read_status(reply)
        if isinstance(found, bool):
            return ModelStatus(self.spec.name, (), found)
        return self._status(
            [
                VersionStatus(number, State.of(state), StatusCode.of(code), message)
                for number, state, code, message in found
            ]
        )

    def _status(self, versions: list[VersionStatus]) -> ModelStatus:
        return ModelStatus(self.spec.name, tuple(sorted(versions, key=lambda status: -status.version)))
