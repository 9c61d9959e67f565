"""Messages that protobuf reads; those of Predict, and tf.Examples, are read by the codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client.codec import field_limits
from tfs_client.errors import DecodeError

_TREES: Mapping[str, field_limits.Tree] = {
    "ReloadConfigRequest": field_limits.RELOAD_REQUEST,
    "MultiInferenceRequest": field_limits.MULTI_INFERENCE_REQUEST,
}


def parse(message: Any, data: bytes) -> Any:
    """Read a message of this class. Raises DecodeError, also for far more fields than a real one has."""
    from google.protobuf.message import DecodeError as ProtobufError

    field_limits.check_fields(data, _TREES.get(message.DESCRIPTOR.name, {}), "it")
    try:
        return message.FromString(data)
    except ProtobufError as error:
        raise DecodeError(str(error)) from None
