"""Messages as they come: compressed ones become plain, and protobuf reads those that the codec does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client.codec import field_limits, messages
from tfs_client.errors import ResourceExhaustedError
from tfs_client.inflating import COMPRESSED, TooLarge, inflated
from tfs_client.options import MAX_INFLATED

LENGTH = "grpc.max_receive_message_length"


def inflated_limit(channel_arguments: Mapping[str, Any]) -> int | None:
    """How many bytes a compressed request may inflate to; None for no limit. A limit for all requests replaces it."""
    length: int = channel_arguments.get(LENGTH, MAX_INFLATED)
    return length if length >= 0 else None


def plain(request: bytes, limit: int | None) -> bytes:
    """A request as its client wrote it. Raises ResourceExhaustedError and DecodeError.

    The server's gRPC leaves compressed requests as they come, for it would inflate them without a limit.
    """
    if request[:1] not in COMPRESSED:
        return request
    try:
        return inflated(request, limit)
    except TooLarge as error:
        raise ResourceExhaustedError(
            f"the request has more than {error.limit} bytes once inflated; "
            f"--grpc_channel_arguments={LENGTH}=BYTES sets another limit"
        ) from None


_TREES: Mapping[str, field_limits.Tree] = {
    "ReloadConfigRequest": field_limits.RELOAD_REQUEST,
    "MultiInferenceRequest": field_limits.MULTI_INFERENCE_REQUEST,
}


def parse(message: Any, data: bytes) -> Any:
    """Read a message of this class. Raises DecodeError, also for far more fields than a real one has."""
    field_limits.check_fields(data, _TREES.get(message.DESCRIPTOR.name, {}), "the request")
    return messages.parse(message, data, "the request")
