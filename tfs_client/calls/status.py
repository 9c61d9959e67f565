"""GetModelStatus: which versions of a model there are, and how they fare."""

from __future__ import annotations

from tfs_client.codec import field_limits
from tfs_client.codec.messages import parse
from tfs_client.codec.model_spec import ModelSpec, write
from tfs_client.codec.predict import Join, plain_join
from tfs_client.errors import StatusCode, reads
from tfs_client.results import ModelStatus, State, VersionStatus


class GetModelStatus:
    """One GetModelStatus call (tensorflow_serving/apis/model_service.proto). The server ignores version labels here."""

    path = "/tensorflow.serving.ModelService/GetModelStatus"
    method = "GetModelStatus"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def write(self, join: Join = plain_join) -> bytes:
        """The request, which is small and in one part."""
        from tfs_client.protos.tensorflow_serving.apis import get_model_status_pb2, model_pb2

        spec = model_pb2.ModelSpec.FromString(write(self.spec))
        return get_model_status_pb2.GetModelStatusRequest(model_spec=spec).SerializeToString()

    @reads("the reply of GetModelStatus")
    def read(self, reply: bytes) -> ModelStatus:
        """The versions, highest first. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis import get_model_status_pb2

        what = f"the reply of {self.method}"
        field_limits.check(reply, field_limits.STATUS, what, most=field_limits.MOST_OF_STATUS)
        response = parse(get_model_status_pb2.GetModelStatusResponse, reply, what)
        versions = [
            VersionStatus(
                entry.version, _state(entry.state), _code(entry.status.error_code), entry.status.error_message
            )
            for entry in response.model_version_status
        ]
        return self._status(versions)

    def write_rest(self) -> tuple[str, bytes]:
        """The request; it has no body."""
        from tfs_client.codec import rest_messages  # here and below: few call over REST

        return f"GET {rest_messages.path(self.spec)}", b""

    @reads("the reply of GetModelStatus")
    def read_rest(self, reply: bytes) -> ModelStatus:
        """The versions, highest first; none where the server says no more than that the model is ready.

        Raises DecodeError.
        """
        from tfs_client.codec import rest_messages

        found = rest_messages.read_status(reply)
        if isinstance(found, bool):
            return ModelStatus(self.spec.name, (), found)
        return self._status(
            [
                VersionStatus(number, _named_state(state), _named_code(code), message)
                for number, state, code, message in found
            ]
        )

    def _status(self, versions: list[VersionStatus]) -> ModelStatus:
        return ModelStatus(self.spec.name, tuple(sorted(versions, key=lambda status: -status.version)))


def _state(number: int) -> State:
    return State(number) if number in State._value2member_map_ else State.UNKNOWN


def _named_state(name: str) -> State:
    return _state(int(name)) if name.isdecimal() else State.__members__.get(name, State.UNKNOWN)


def _named_code(name: str) -> StatusCode:
    return _code(int(name)) if name.isdecimal() else StatusCode.__members__.get(name, StatusCode.UNKNOWN)


def _code(number: int) -> StatusCode:
    return StatusCode(number) if number in StatusCode._value2member_map_ else StatusCode.UNKNOWN
