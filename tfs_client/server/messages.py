"""Messages that protobuf reads; those of Predict, and tf.Examples, are read by the codec."""

from __future__ import annotations

from typing import Any

from tfs_client.errors import DecodeError


def parse(message: Any, data: bytes) -> Any:
    """Read a message of this class. Raises DecodeError."""
    from google.protobuf.message import DecodeError as ProtobufError

    try:
        return message.FromString(data)
    except ProtobufError as error:
        raise DecodeError(str(error)) from None
