"""Behaviors: the functions behind gRPC methods, and threads in which they do not wait behind predictions."""

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
    """Return a behavior that runs in these threads; None: in those of the server."""

    if threads is None:
        return behavior

    def handle(request: Request, context: grpc.ServicerContext) -> bytes:
        return behavior(request, context)

    # An experimental attribute of grpc, which has existed for years; grpcio-health-checking uses it too. Without it,
    # these methods would run in the threads of predictions; nothing else would change.
    handle.experimental_thread_pool = threads  # type: ignore[attr-defined]
    return handle
