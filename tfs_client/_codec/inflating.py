"""Decompress messages piece by piece and up to a limit, because a few kilobytes can inflate to gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO

from tfs_client.errors import DecodeError

PIECE = 1 << 18  # bytes inflated at a time: about a millisecond
TAKEN = 1 << 16  # bytes passed to zlib at a time, because it copies what it has not consumed

# The first byte of a compressed gRPC message that gRPC does not inflate. No message of TensorFlow Serving begins with
# it: gzip's is a tag of an invalid wire type, zlib's the tag of field 15, and these messages have at most three fields.
GZIP, ZLIB = b"\x1f", b"\x78"
COMPRESSED = (GZIP, ZLIB)
ZLIB_LEVELS = (b"\x01", b"\x5e", b"\x9c", b"\xda")


class TooLarge(Exception):
    """The data is larger than ``limit``, in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class Inflation:
    """An incremental decompressor: inflates a message while it arrives.

    Args:
        encoding: "gzip" or "deflate"; the latter with zlib's header or, as some servers send it, without.
        limit: the maximum size of the inflated message in bytes; None for no limit.
    """

    def __init__(self, encoding: str, limit: int | None) -> None:
        self._encoding = encoding
        self._limit = limit
        self._head = b""  # the first bytes, until there are enough to detect the format
        self._reader: zlib._Decompress | None = None
        self._plain = BytesIO()

    def add(self, data: bytes) -> Iterator[None]:
        """Inflate the next bytes. Yields after each piece, so that callers can check the clock or run other tasks.

        Raises TooLarge, and DecodeError for data that is not in the encoding.
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
        """Return the message, which is empty if there was no data. Raises DecodeError if its end is missing."""
        if self._head and (self._reader is None or not self._reader.eof):
            raise DecodeError(f"the {self._encoding} data ends too early")
        return self._plain.getvalue()

    def _piece(self, reader: zlib._Decompress, data: bytes) -> tuple[bytes, bool]:
        """Inflate a piece. Returns the rest of the data, and whether zlib may have more output without it."""
        if reader.eof:
            raise DecodeError(f"bytes follow the end of the {self._encoding} data")
        try:
            piece = reader.decompress(data, PIECE)
        except zlib.error as error:
            raise DecodeError(f"the {self._encoding} data is damaged: {error}") from error
        self._plain.write(piece)
        if self._limit is not None and self._plain.tell() > self._limit:
            self._plain.close()  # the error refers to it through its traceback
            raise TooLarge(self._limit)
        if reader.eof:
            return reader.unused_data, False
        return reader.unconsumed_tail, len(piece) == PIECE

    def _window(self, head: bytes) -> int:
        """Return zlib's ``wbits`` for the format."""
        if self._encoding == "gzip":
            return 31
        return 15 if head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0 else -15


def inflation_of(message: bytes, limit: int | None) -> Inflation | None:
    """Return the Inflation for a compressed gRPC message; None for one that is not compressed."""
    first = message[:1]
    if first == GZIP:
        return Inflation("gzip", limit) if message[1:2] == b"\x8b" else None
    return Inflation("deflate", limit) if first == ZLIB and message[1:2] in ZLIB_LEVELS else None


def inflated(message: bytes, limit: int | None) -> bytes:
    """Inflate a gRPC message if it is compressed. Raises TooLarge and DecodeError."""
    inflation = inflation_of(message, limit)
    if inflation is None:
        return message
    for _ in inflation.add(message):
        pass
    return inflation.whole()
