"""gRPC's health service (grpc/health/v1/health.proto), written on the wire by hand.

Only Check is offered: a Watch would hold one of the server's few threads for as long as its client likes, and clients
take UNIMPLEMENTED for "healthy as long as there is a connection".
"""

from __future__ import annotations

import threading
from typing import Any

import grpc

from tfs_client.codec import wire
from tfs_client.errors import DecodeError, ResourceExhaustedError, reads
from tfs_client.results import Health
from tfs_client.server.access.arrivals import Arrivals
from tfs_client.server.messages import plain
from tfs_client.server.own_threads import in_threads
from tfs_client.server.thread_pool import ThreadPool

SERVICES = frozenset({"", "ModelService", "PredictionService"})  # not package-qualified (model_servers/server.cc)

MAX_REQUEST = 1 << 16  # bytes that a compressed request may become; the name of a service is short

_SERVICE = wire.tag(1, wire.LENGTH)


class HealthService:
    """Tells whether the server serves. It does not until it is told to."""

    def __init__(self) -> None:
        self._serving = threading.Event()

    def set(self, serving: bool) -> None:
        """Whether the server serves."""
        if serving:
            self._serving.set()
        else:
            self._serving.clear()

    def handlers(self, arrivals: Arrivals, threads: ThreadPool | None = None) -> grpc.GenericRpcHandler[Any, Any]:
        """What a grpc.Server takes. The service runs in ``threads``; without, in those of the server."""
        behavior = arrivals.first("/grpc.health.v1.Health/Check", self._check)
        check = grpc.stream_unary_rpc_method_handler(in_threads(threads, behavior))
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            service = service_of(plain(request, MAX_REQUEST))
        except (DecodeError, ResourceExhaustedError) as error:
            context.abort(grpc.StatusCode.INTERNAL, f"the request is no message of Check: {error}")
        if service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {service}")
        return reply_of(Health.SERVING if self._serving.is_set() else Health.NOT_SERVING)


@reads("the request")
def service_of(request: bytes) -> str:
    """The service that a HealthCheckRequest is about. Raises DecodeError."""
    service = ""
    for tag, start, stop in wire.fields(request, 0, len(request)):
        if tag == _SERVICE:
            service = wire.text(request, start, stop, "the service's name")
    return service


def reply_of(health: Health) -> bytes:
    """A HealthCheckResponse."""
    return wire.varint(wire.tag(1, wire.VARINT)) + wire.varint(health)
