"""Metadata of answered gRPC calls, read without waiting, and without keeping the call.

A call object keeps its channel alive, and about 2 kB; its metadata takes a few hundred bytes. So the metadata is taken
out of it for every call. Its public methods would take a lock each, or create a coroutine; the private attributes, the
same from grpcio 1.60 on, are only read. Objects without them, such as those of interceptors, have the public methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from tfs_client._transports.reply import RawPairs

_FUTURE = "_MultiThreadedRendezvous"  # gRPC's own class of futures, which it imports with the first channel


def metadata_of(call: Any) -> tuple[RawPairs, RawPairs]:
    """Initial and trailing metadata of a call; None where the object has none."""
    try:
        state = call._state
        return state.initial_metadata, state.trailing_metadata
    except Exception:  # the object is not gRPC's
        return result_of(call, "initial_metadata"), result_of(call, "trailing_metadata")


def answer_of(call: Any) -> tuple[bytes, RawPairs, RawPairs] | None:
    """Reply, initial and trailing metadata of a future that has succeeded with bytes; None for any other object."""
    try:
        state = call._state if type(call).__name__ == _FUTURE else None
        if state is not None and state.code is grpc.StatusCode.OK and type(state.response) is bytes:
            return state.response, state.initial_metadata, state.trailing_metadata
    except Exception:  # another version of gRPC
        pass
    return None


def metadata_of_aio(call: Any) -> tuple[RawPairs, RawPairs]:
    """The same for a call of grpc.aio."""
    try:
        inner = call._cython_call
        return inner._initial_metadata, inner._status.trailing_metadata()
    except Exception:  # the object is not gRPC's
        return result_of(call, "initial_metadata", _at_once), result_of(call, "trailing_metadata", _at_once)


def result_of(call: Any, name: str, read: Callable[[Any], Any] | None = None) -> Any:
    """The result of a method of a call object, read by a function; None if the method is missing or fails."""
    method = getattr(call, name, None)
    try:
        found = method() if callable(method) else None
        return found if read is None else read(found)
    except Exception:  # the call object is not gRPC's
        return None


def _at_once(coroutine: Any) -> Any:
    """The result of a coroutine that need not wait; None if it would."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    return None
