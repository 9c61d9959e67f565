"""Overload: how many gRPC calls may wait for a thread, and the answer to those above the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc

EXHAUSTED = "Server Threadpool Exhausted"  # gRPC's src/cpp/server/server_cc.cc

Handler = Any  # a grpc.RpcMethodHandler


def no_waiting() -> int:
    """The count if nothing waits or nothing is counted."""
    return 0


class BoundedHandlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """The methods of a gRPC server. While too many calls wait for a thread, some methods have another handler.

    Args:
        handlers: of each method, by path.
        refusals: the handlers that take their place then, by path; of those methods alone that wait for these threads.
        waiting: how many calls wait.
        limit: how many may.

    gRPC asks for a handler before a call begins to wait, on the one thread on which all calls arrive.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        refusals: Mapping[str, Handler],
        waiting: Callable[[], int],
        limit: int,
    ) -> None:
        self._handlers = handlers
        self._refusals = refusals
        self._waiting = waiting
        self._limit = limit

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a call; None for an unknown method."""
        path = handler_call_details.method
        if self._waiting() >= self._limit and path in self._refusals:
            return self._refusals[path]
        return self._handlers.get(path)
