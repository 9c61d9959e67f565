"""Bodies of requests: how much of one is taken, and how a compressed one is read."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tfs_client.errors import InvalidArgumentError

if TYPE_CHECKING:
    from starlette.types import Receive

INFLATED_LIMIT = 104857600  # bytes, as the gzip trailer tells them (util/net_http/compression/gzip_zlib.h)


class ClientGone(Exception):
    """The client has left before its body was here."""


def inflated(data: bytes, encoding: str, limit: int = INFLATED_LIMIT) -> bytes:
    """The body as the methods see it.

    It is inflated when the ``Content-Encoding`` has "gzip" in it. Whatever cannot be inflated, or not within the limit,
    or is more than one member, counts as no body at all: that is how the model server takes it.
    """
    if "gzip" not in encoding or not data:
        return data
    size = _inflated_size(data)
    if len(data) < 18 or size > limit:
        return b""
    reader = zlib.decompressobj(wbits=31)
    try:
        found = reader.decompress(data, size + 1)
    except zlib.error:
        return b""
    whole = reader.eof and not reader.unused_data and len(found) == size
    return found if whole else b""


def check_inflated(data: bytes, encoding: str, limit: int) -> None:
    """Refuse what inflates to more than ``limit`` bytes. Raises InvalidArgumentError."""
    if "gzip" in encoding and limit < _inflated_size(data) <= INFLATED_LIMIT:
        raise InvalidArgumentError(f"the inflated body has more than {limit} bytes")


def _inflated_size(data: bytes) -> int:
    """What a compressed body claims; whether that is true shows later."""
    return int.from_bytes(data[-4:], "little")


async def body_of(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None as soon as it has more than ``limit`` bytes; uvicorn passes over the rest.

    Raises ClientGone.
    """
    kept: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        kept.append(message.get("body", b""))
        size += len(kept[-1])
        if size > limit:
            return None
        more = message.get("more_body", False)
    return b"".join(kept)
