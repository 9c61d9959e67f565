"""ListModels and GetConfig, which tfs-serve offers in addition to TensorFlow Serving's API."""

from __future__ import annotations

from tfs_client._calls.grpc_only import GrpcOnly
from tfs_client._codec import field_limits, tfs_serve_calls
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.protobuf_messages import parse
from tfs_client.errors import ConfigError, DecodeError, reads
from tfs_client.model_config import ModelServerConfig


class ListModels:
    """One ListModels call: the names of the models that are configured or served."""

    path = f"{tfs_serve_calls.SERVICE}/ListModels"
    method = "ListModels"
    spec = ModelSpec("")

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request, which is empty."""
        return b""

    def read(self, reply: bytes) -> tuple[str, ...]:
        """Return the names. Raises DecodeError."""
        return tfs_serve_calls.read(reply)

    def write_rest(self) -> tuple[str, bytes]:
        """Return the request, which has no body."""
        return f"GET {tfs_serve_calls.PAGE}", b""

    def read_rest(self, reply: bytes) -> tuple[str, ...]:
        """Return the names. Raises DecodeError."""
        return tfs_serve_calls.read(reply)


class GetConfig(GrpcOnly):
    """One GetConfig call: the current configuration, a ModelServerConfig message."""

    path = f"{tfs_serve_calls.SERVICE}/GetConfig"
    method = "GetConfig"
    spec = ModelSpec("")

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request, which is empty."""
        return b""

    @reads("the reply of GetConfig")
    def read(self, reply: bytes) -> ModelServerConfig:
        """Return the configuration. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

        what = f"the reply of {self.method}"
        field_limits.check(reply, field_limits.MODEL_SERVER_CONFIG, what)
        try:
            return ModelServerConfig.from_proto(parse(schema.ModelServerConfig, reply, what))
        except ConfigError as error:
            raise DecodeError(f"{what}: {error}") from None
