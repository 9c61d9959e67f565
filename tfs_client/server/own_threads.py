"""Methods that have threads of their own, so that they need not wait behind predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from tfs_client.server.thread_pool import ThreadPool

Behavior = Callable[[bytes, grpc.ServicerContext], bytes]
StreamBehavior = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]

Request = TypeVar("Request")


def in_threads(
    threads: ThreadPool | None, behavior: Callable[[Request, grpc.ServicerContext], bytes]
) -> Callable[[Request, grpc.ServicerContext], bytes]:
    """The behavior of a method, run in these threads; without, in those of the server."""

    if threads is None:
        return behavior

    def handle(request: Request, context: grpc.ServicerContext) -> bytes:
        return behavior(request, context)

    # For years experimental, and what grpcio-health-checking does. In a grpc without it these methods would have the
    # threads of predictions; nothing else would change.
    handle.experimental_thread_pool = threads  # type: ignore[attr-defined]
    return handle
