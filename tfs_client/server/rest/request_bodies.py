"""Bodies of requests: their size limit, and decompression."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tfs_client.errors import InvalidArgumentError

if TYPE_CHECKING:
    from starlette.types import Receive

INFLATED_LIMIT = 104857600  # bytes, according to the gzip trailer (util/net_http/compression/gzip_zlib.h)


class ClientGone(Exception):
    """The client disconnected before it had sent the whole body."""


def inflated(data: bytes, encoding: str, limit: int = INFLATED_LIMIT) -> bytes:
    """Return the body for the API methods, inflated if the ``Content-Encoding`` contains "gzip".

    A body that cannot be inflated, exceeds the limit, or has more than one gzip member counts as empty, as in the model
    server.
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
    """Raise InvalidArgumentError for a body that inflates to more than ``limit`` bytes."""
    if "gzip" in encoding and limit < _inflated_size(data) <= INFLATED_LIMIT:
        raise InvalidArgumentError(f"the inflated body has more than {limit} bytes")


def _inflated_size(data: bytes) -> int:
    """Return the size that a compressed body declares; ``inflated`` checks it."""
    return int.from_bytes(data[-4:], "little")


async def body_of(receive: Receive, limit: int) -> bytes | None:
    """Read the whole body. Returns None as soon as it has more than ``limit`` bytes; uvicorn discards the rest.

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
