"""Messages that protobuf reads; those of Predict, and tf.Examples, are read by the codec."""

from __future__ import annotations

from typing import Any

from tfs_client.codec import messages


def parse(message: Any, data: bytes) -> Any:
    """Read a message of this class. Raises DecodeError."""
    return messages.parse(message, data, "the request")
