"""Check of gRPC's health service, if the server offers it (grpc/health/v1/health.proto).

TensorFlow Serving does with --enable_grpc_healthcheck_service, under the names ModelService and PredictionService.
"""

from __future__ import annotations

from tfs_client._calls.grpc_only import GrpcOnly
from tfs_client._codec import wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client.errors import DecodeError, reads
from tfs_client.results import Health

MOST_BYTES = 1 << 16  # of a reply, which normally has two

_STATUS = wire.tag(1, wire.VARINT)


class CheckHealth(GrpcOnly):
    """One Check of a service; "" means the whole server."""

    path = "/grpc.health.v1.Health/Check"
    method = "Check"
    spec = ModelSpec("")

    def __init__(self, service: str) -> None:
        self._service = service

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request."""
        return wire.delimited(1, wire.utf8(self._service, "a service's name")) if self._service else b""

    @reads("the reply of Check")
    def read(self, reply: bytes) -> Health:
        """Return the service's health. Raises DecodeError."""
        if len(reply) > MOST_BYTES:
            raise DecodeError(f"the reply of {self.method} is too large: expected a status, got {len(reply)} bytes")
        number = 0
        for tag, value, _ in wire.fields(reply, 0, len(reply)):
            if tag == _STATUS:
                number = wire.to_enum(value)
        return Health.of(number)
