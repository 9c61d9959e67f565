"""Protobuf messages: those that protobuf reads, and those of any package where strings are wanted, as bytes."""

from __future__ import annotations

from typing import Any

from tfs_client.errors import DecodeError, EncodeError
from tfs_client.shown import bounded


def parse(message: Any, data: bytes, what: str) -> Any:
    """A message of this class from its bytes; ``what`` says in error texts what they are.

    Raises DecodeError for whatever protobuf raises: its implementation in Python has more than its own DecodeError.
    """
    try:
        return message.FromString(data)
    except Exception as error:
        name = message.DESCRIPTOR.name
        raise DecodeError(f"{what} is not a {name}: {bounded(str(error), 500) or type(error).__name__}") from error


def is_message(kind: type) -> bool:
    """Whether instances of this class are protobuf messages, ours or those of another package."""
    return hasattr(kind, "SerializeToString")


def message_bytes(message: Any) -> bytes:
    """The bytes of a message.

    Raises EncodeError for a TensorProto, which is a tensor itself and not a string, and for a message that cannot be
    serialized.
    """
    if message.DESCRIPTOR.full_name == "tensorflow.TensorProto":
        raise EncodeError("expected values, got a TensorProto; tfs_client.make_ndarray reads it as an array")
    try:
        data: bytes = message.SerializeToString()
    except Exception as error:  # protobuf's own class is not imported for this
        raise EncodeError(f"a message of type {type(message).__name__} cannot be serialized: {error}") from error
    return data
