"""gRPC's health service (grpc/health/v1/health.proto), written on the wire by hand.

Source of the texts: gRPC's src/cpp/server/health/default_health_check_service.cc, which the model server has.
"""

from __future__ import annotations

import threading
from concurrent.futures import wait

import grpc

from tfs_client._codec import wire
from tfs_client.errors import DecodeError, ResourceExhaustedError, reads
from tfs_client.results import Health
from tfs_client.server.grpc.arrivals import Arrivals, missing
from tfs_client.server.grpc.behaviors import in_threads
from tfs_client.server.grpc.messages import plain
from tfs_client.server.grpc.streams import Stream, Streams
from tfs_client.server.thread_pool import ThreadPool

SERVICE = "grpc.health.v1.Health"
SERVICES = frozenset({"", "ModelService", "PredictionService"})  # not package-qualified (model_servers/server.cc)

MAX_REQUEST = 1 << 16  # bytes of an inflated request; the name of a service is short
MAX_NAME = 200  # bytes
MAX_NOTIFYING = 0.5  # seconds for watchers to be notified of a change; one that does not read may take longer

UNREADABLE = "could not parse request"
UNKNOWN = "service name unknown"

_SERVICE = wire.tag(1, wire.LENGTH)


class HealthService:
    """Reports whether the server serves; NOT_SERVING until ``set(True)``."""

    def __init__(self) -> None:
        self._serving = False
        self._watchers: set[_Watcher] = set()
        self._threads: ThreadPool | None = None

    def set(self, serving: bool) -> None:
        """Set whether the server serves. Returns once watchers are notified, but waits no longer than MAX_NOTIFYING."""
        self._serving = serving
        if self._threads is not None:
            wait([self._threads.submit(watcher.notify) for watcher in list(self._watchers)], MAX_NOTIFYING)

    def health(self, service: str) -> Health:
        """Return the health of a service."""
        if service not in SERVICES:
            return Health.SERVICE_UNKNOWN
        return Health.SERVING if self._serving else Health.NOT_SERVING

    def handlers(
        self, arrivals: Arrivals, streams: Streams, threads: ThreadPool
    ) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the handlers for a grpc.Server. They run in ``threads``; ``streams`` are the open watches."""
        self._threads = threads
        check = in_threads(threads, arrivals.first(f"/{SERVICE}/Check", self._check))
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {"Check": grpc.stream_unary_rpc_method_handler(check), "Watch": streams.handler(self._watch)},
        )

    def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            health = self.health(service_of(plain(request, MAX_REQUEST)))
        except (DecodeError, ResourceExhaustedError):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        if health is Health.SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, UNKNOWN)
        return reply_of(health)

    def _watch(self, stream: Stream) -> None:
        request = stream.read()
        if request is None:
            stream.end(grpc.StatusCode.UNIMPLEMENTED, missing(f"/{SERVICE}/Watch"))
            return
        try:
            service = service_of(plain(request, MAX_REQUEST))
        except (DecodeError, ResourceExhaustedError):
            stream.end(grpc.StatusCode.INTERNAL, UNREADABLE)
            return
        watcher = _Watcher(self, stream, service)
        self._watchers.add(watcher)
        stream.when_over(lambda: self._watchers.discard(watcher))
        watcher.notify()


class _Watcher:
    """A client that watches a service."""

    def __init__(self, health: HealthService, stream: Stream, service: str) -> None:
        self._health = health
        self._stream = stream
        self._service = service
        self._sent: Health | None = None
        self._notifying = threading.Lock()

    def notify(self) -> None:
        """Send the service's health if it has changed. A thread that is already sending checks again afterwards."""
        while self._has_changed() and self._notifying.acquire(blocking=False):
            try:
                health = self._health.health(self._service)
                if health is not self._sent:
                    if not self._stream.write(reply_of(health)):
                        return
                    self._sent = health
            finally:
                self._notifying.release()

    def _has_changed(self) -> bool:
        return self._health.health(self._service) is not self._sent


@reads("the request")
def service_of(request: bytes) -> str:
    """Return the service of a HealthCheckRequest. Raises DecodeError, also for a name that is too long."""
    service = ""
    for tag, start, stop in wire.fields(request, 0, len(request)):
        if tag == _SERVICE:
            service = wire.text(request, start, stop, "the service's name")
    if len(service.encode()) > MAX_NAME:
        raise DecodeError(f"expected a service's name of at most {MAX_NAME} bytes, got {len(service.encode())}")
    return service


def reply_of(health: Health) -> bytes:
    """Write a HealthCheckResponse."""
    return wire.varint(wire.tag(1, wire.VARINT)) + wire.varint(health)
