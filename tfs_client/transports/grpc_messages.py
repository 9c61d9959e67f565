"""Messages as gRPC's interceptors and instrumentation see them. To this client they are bytes, in both directions."""

from __future__ import annotations

from typing import Any


def unchanged(message: bytes) -> bytes:
    """The serializer and deserializer of calls. Not None, which some of those who wrap channels try to call."""
    return message


class Message(bytes):
    """Bytes with the methods of a protobuf message that recorders call (grpcvcr, cassetter). Making one is a copy."""

    def SerializeToString(self, **options: Any) -> bytes:
        """The bytes."""
        return bytes(self)

    @classmethod
    def FromString(cls, data: bytes) -> Message:
        """A message of these bytes."""
        return cls(data)


def is_plain(channel: Any) -> bool:
    """Whether a channel is gRPC's own, with nobody between it and its callers."""
    kind = type(channel)
    return (
        kind.__module__ in ("grpc._channel", "grpc.aio._channel")
        and kind.__name__ == "Channel"
        and not getattr(channel, "_unary_unary_interceptors", None)  # those of grpc.aio are inside
    )
