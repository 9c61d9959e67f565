"""Parse messages with protobuf, and serialize users' messages where strings are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tfs_client._printable import bounded
from tfs_client.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from google.protobuf.message import Message

Parsed = TypeVar("Parsed", bound="Message")


def parse(message: type[Parsed], data: bytes, what: str) -> Parsed:
    """Parse the bytes of a message of this class; ``what`` names them in error texts.

    Raises DecodeError for any exception of protobuf; its pure-Python implementation raises more than its DecodeError.
    """
    try:
        return message.FromString(data)
    except Exception as error:
        name = message.DESCRIPTOR.name
        raise DecodeError(f"{what} is not a {name}: {bounded(str(error), 500) or type(error).__name__}") from error


def is_message(kind: type) -> bool:
    """Return whether instances of this class are protobuf messages, ours or those of another package."""
    return hasattr(kind, "SerializeToString")


def message_bytes(message: Any) -> bytes:
    """Serialize a message.

    Raises EncodeError for a TensorProto, which is a tensor and not a string, and for a message that cannot be
    serialized.
    """
    if message.DESCRIPTOR.full_name == "tensorflow.TensorProto":
        raise EncodeError("expected values, got a TensorProto; tfs_client.make_ndarray reads it as an array")
    try:
        data: bytes = message.SerializeToString()
    except Exception as error:  # of protobuf's own class, which is not imported for this
        raise EncodeError(f"a message of type {type(message).__name__} cannot be serialized: {error}") from error
    return data
