"""Bodies of requests: how much of one is taken, and how a compressed one is read."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

INFLATED_LIMIT = 104857600  # bytes, as the gzip trailer tells them (util/net_http/compression/gzip_zlib.h)


def inflated(data: bytes, encoding: str, limit: int = INFLATED_LIMIT) -> bytes:
    """The body as the methods see it.

    It is inflated when the ``Content-Encoding`` has "gzip" in it. Whatever cannot be inflated, or not within the limit,
    or is more than one member, counts as no body at all: that is how the model server takes it.
    """
    if "gzip" not in encoding or not data:
        return data
    size = int.from_bytes(data[-4:], "little")
    if len(data) < 18 or size > limit:
        return b""
    reader = zlib.decompressobj(wbits=31)
    try:
        found = reader.decompress(data, size + 1)
    except zlib.error:
        return b""
    whole = reader.eof and not reader.unused_data and len(found) == size
    return found if whole else b""


async def body_of(parts: AsyncIterator[bytes], limit: int) -> bytes | None:
    """The whole body, or None as soon as it has more than ``limit`` bytes; uvicorn passes over the rest."""
    kept: list[bytes] = []
    size = 0
    async for part in parts:
        kept.append(part)
        size += len(part)
        if size > limit:
            return None
    return b"".join(kept)
