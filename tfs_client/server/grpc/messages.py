"""Request messages: inflating compressed ones, and parsing those that the codec does not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from tfs_client._codec import field_limits, protobuf_messages
from tfs_client._codec.inflating import COMPRESSED, TooLarge, inflated
from tfs_client.errors import ResourceExhaustedError
from tfs_client.options import MAX_INFLATED

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

LENGTH = "grpc.max_receive_message_length"


def inflated_limit(channel_arguments: Mapping[str, int | str]) -> int | None:
    """Return the maximum size of an inflated request; None for no limit. A limit for all requests replaces it."""
    length = int(channel_arguments.get(LENGTH, MAX_INFLATED))
    return length if length >= 0 else None


def plain(request: bytes, limit: int | None) -> bytes:
    """Return a request, inflated if it is compressed. Raises ResourceExhaustedError and DecodeError.

    The server's gRPC does not inflate requests, because it would do so without a limit.
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


def parse(message: type[M], data: bytes) -> M:
    """Parse a message of this class. Raises DecodeError, also for far more fields than real messages have."""
    field_limits.check_fields(data, _TREES.get(message.DESCRIPTOR.name, {}), "the request")
    parsed: M = protobuf_messages.parse(message, data, "the request")
    return parsed
