"""Compressed bytes to plain ones, piece by piece and up to a limit, for a few kilobytes can stand for gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO

from tfs_client.errors import DecodeError

PIECE = 1 << 18  # bytes that are inflated at once: about a millisecond
TAKEN = 1 << 16  # bytes that zlib is given at once, for it copies what it has not used yet

# How a compressed message of gRPC begins, where gRPC leaves it as it came. No message of TensorFlow Serving begins so:
# gzip's first byte is a field of a wire type that does not exist, zlib's is field 15, and they have three at the most.
GZIP, ZLIB = b"\x1f", b"\x78"
COMPRESSED = (GZIP, ZLIB)
ZLIB_LEVELS = (b"\x01", b"\x5e", b"\x9c", b"\xda")


class TooLarge(Exception):
    """The data is larger than the limit. ``limit``: in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class Inflation:
    """A compressed message that is inflated while it arrives.

    Args:
        encoding: "gzip" or "deflate"; the latter with zlib's header or, as some servers have it, without.
        limit: how many bytes it may inflate to; None for no limit.
    """

    def __init__(self, encoding: str, limit: int | None) -> None:
        self._encoding = encoding
        self._limit = limit
        self._head = b""  # the first bytes, until there are enough to see what they begin
        self._reader: zlib._Decompress | None = None
        self._plain = BytesIO()

    def add(self, data: bytes) -> Iterator[None]:
        """Take the next bytes. Yields after each piece of work, so that others can look at the clock, or run.

        Raises TooLarge, and DecodeError for what is not of the encoding.
        """
        if self._reader is None:
            self._head = data = self._head + data
            if len(data) < 2:
                return
            self._reader = zlib.decompressobj(self._window(data))
        for start in range(0, len(data), TAKEN):
            rest, more = data if len(data) <= TAKEN else data[start : start + TAKEN], True
            while rest or more:
                rest, more = self._piece(self._reader, rest)
                yield

    def whole(self) -> bytes:
        """The message; of no data at all it is empty. Raises DecodeError when its end is missing."""
        if self._head and (self._reader is None or not self._reader.eof):
            raise DecodeError(f"the {self._encoding} data ends too early")
        return self._plain.getvalue()

    def _piece(self, reader: zlib._Decompress, data: bytes) -> tuple[bytes, bool]:
        """Inflate a piece. Returns the rest of the data, and whether zlib may hold more without it."""
        if reader.eof:
            raise DecodeError(f"bytes follow the end of the {self._encoding} data")
        try:
            piece = reader.decompress(data, PIECE)
        except zlib.error as error:
            raise DecodeError(f"the {self._encoding} data is damaged: {error}") from error
        self._plain.write(piece)
        if self._limit is not None and self._plain.tell() > self._limit:
            self._plain.close()  # whoever keeps the error keeps this, too
            raise TooLarge(self._limit)
        if reader.eof:
            return reader.unused_data, False
        return reader.unconsumed_tail, len(piece) == PIECE

    def _window(self, head: bytes) -> int:
        """zlib's word for the format."""
        if self._encoding == "gzip":
            return 31
        return 15 if head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0 else -15


def inflation_of(message: bytes, limit: int | None) -> Inflation | None:
    """The Inflation for a compressed message of gRPC; None for one that is not compressed."""
    first = message[:1]
    if first == GZIP:
        return Inflation("gzip", limit) if message[1:2] == b"\x8b" else None
    return Inflation("deflate", limit) if first == ZLIB and message[1:2] in ZLIB_LEVELS else None


def inflated(message: bytes, limit: int | None) -> bytes:
    """A message of gRPC as it was before it was compressed. Raises TooLarge and DecodeError."""
    inflation = inflation_of(message, limit)
    if inflation is None:
        return message
    for _ in inflation.add(message):
        pass
    return inflation.whole()
