"""Messages as gRPC's interceptors and instrumentation see them. To this client, all messages are bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Message(bytes):
    """Bytes with the methods of a protobuf message that recorders call (grpcvcr, cassetter). Making one is a copy."""

    def SerializeToString(self, **options: object) -> bytes:
        """The bytes."""
        return bytes(self)

    @classmethod
    def FromString(cls, data: bytes) -> Message:
        """A message of these bytes."""
        return cls(data)


def _unchanged(message: bytes) -> bytes:
    return message


# The arguments of a channel's methods: functions and not None, because some instrumentation calls them.
BYTES = {"request_serializer": _unchanged, "response_deserializer": _unchanged}


def messages(read: Callable[[bytes], Message]) -> dict[str, Callable[..., Any]]:
    """The arguments of methods behind interceptors or instrumentation; ``read`` makes the replies."""
    return {"request_serializer": Message.SerializeToString, "response_deserializer": read}


def is_plain(channel: object) -> bool:
    """Whether a channel is gRPC's own, without interceptors or instrumentation."""
    kind = type(channel)
    return (
        kind.__module__ in ("grpc._channel", "grpc.aio._channel")
        and kind.__name__ == "Channel"
        and not getattr(channel, "_unary_unary_interceptors", None)  # grpc.aio keeps its interceptors here
    )
