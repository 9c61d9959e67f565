"""Messages as gRPC's interceptors and instrumentation see them. To this client they are bytes, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Message(bytes):
    """Bytes with the methods of a protobuf message that recorders call (grpcvcr, cassetter). Making one is a copy."""

    def SerializeToString(self, **options: Any) -> bytes:
        """The bytes."""
        return bytes(self)

    @classmethod
    def FromString(cls, data: bytes) -> Message:
        """A message of these bytes."""
        return cls(data)


def _unchanged(message: bytes) -> bytes:
    return message


# What the methods of a channel are made with: functions and not None, which some of those who wrap channels call.
BYTES = {"request_serializer": _unchanged, "response_deserializer": _unchanged}


def messages(read: Callable[[bytes], Message]) -> dict[str, Callable[..., Any]]:
    """What they are made with where somebody is in between; ``read`` makes the replies."""
    return {"request_serializer": Message.SerializeToString, "response_deserializer": read}


def is_plain(channel: Any) -> bool:
    """Whether a channel is gRPC's own, with nobody between it and its callers."""
    kind = type(channel)
    return (
        kind.__module__ in ("grpc._channel", "grpc.aio._channel")
        and kind.__name__ == "Channel"
        and not getattr(channel, "_unary_unary_interceptors", None)  # those of grpc.aio are inside
    )
