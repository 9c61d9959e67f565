"""Overload: which gRPC calls are admitted while all threads are busy, and how the others are refused.

The decision falls when gRPC asks for the handler of a call. That is before the call waits for a thread, so a refused
call takes none of the threads that run models, and its request stays unread. It falls on the one thread on which all
calls arrive, so it must not block. Each admitted call must run a behavior that ``counted`` returned, which ends its
count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import grpc

from tfs_client.server.grpc.behaviors import StreamBehavior
from tfs_client.server.thread_pool import ThreadPool

EXHAUSTED = "Server Threadpool Exhausted"  # gRPC's src/cpp/server/server_cc.cc

Handler: TypeAlias = "grpc.RpcMethodHandler[Iterator[bytes], bytes]"

if TYPE_CHECKING:
    GenericRpcHandler = grpc.GenericRpcHandler[Iterator[bytes], bytes]  # generic in its stubs only
else:
    GenericRpcHandler = grpc.GenericRpcHandler


class Queue:
    """Lets a limited number of calls wait for a thread.

    Args:
        threads: the pool; None: the number is not limited.
        limit: the maximum number of calls that wait.
    """

    def __init__(self, threads: ThreadPool | None, limit: int) -> None:
        self._threads = threads
        self._limit = limit

    def admits(self) -> bool:
        """Whether a new call is admitted."""
        return self._threads is None or self._threads.waiting() < self._limit

    def counted(self, behavior: StreamBehavior) -> StreamBehavior:
        """Return the behavior for admitted calls of a method."""
        return behavior


class Quota:
    """Admits a call only if a thread is free, as gRPC's quota of threads does in the model server.

    A call counts from its arrival until just before its reply is sent, so a client that has its reply can make the next
    call. A call whose request is slow to arrive does not count meanwhile, and waits for a thread afterwards.

    Args:
        threads: the pool; its size is the number of calls that are admitted.
    """

    def __init__(self, threads: ThreadPool) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._taken = 0

    def admits(self) -> bool:
        """Whether a new call is admitted. It counts from then on."""
        with self._lock:
            if self._taken - self._threads.lent >= self._threads.size:
                return False
            self._taken += 1
            return True

    def counted(self, behavior: StreamBehavior) -> StreamBehavior:
        """Return the behavior for admitted calls of a method, which stop counting when it ends."""

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            try:
                return behavior(requests, context)
            finally:
                with self._lock:
                    self._taken -= 1

        return handle


class BoundedHandlers(GenericRpcHandler):
    """The methods of a gRPC server. Calls that are not admitted get another handler.

    Args:
        handlers: the handler of each method, by path.
        refusals: the handlers for calls that are not admitted, by path; only for methods that share the threads.
        admits: whether a new call of such a method is admitted; called once for each call.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], refusals: Mapping[str, Handler], admits: Callable[[], bool]
    ) -> None:
        self._handlers = handlers
        self._refusals = refusals
        self._admits = admits

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of a call; None for an unknown method."""
        path = handler_call_details.method
        if path in self._refusals and not self._admits():
            return self._refusals[path]
        return self._handlers.get(path)
