"""Protobuf's wire format in a seekable file: a walk over the fields that skips their payloads without reading them.

Strategy: the headers of fields, tags and lengths, are read in windows of a few hundred bytes. Neighbouring short fields
share a window, and a long field is skipped by its length, so that a walk over a model of gigabytes reads a few
kilobytes. A file of many short fields would take a read for every few of them, so windows grow as long as skips are
short; after a long one they have their first length again. A walk reads no byte twice. Every length is checked against
the end of the enclosing message before it is used, as in ``wire``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tfs_client._codec import wire
from tfs_client.errors import DecodeError

WINDOW = 256  # bytes after a long skip: any header fits, and so do several short fields
LONGEST_WINDOW = 1 << 16  # bytes
SHORT_SKIP = 1 << 12  # bytes: the price of a read is that of a few thousand bytes
LONGEST = (1 << 31) - 1  # bytes of a message: protobuf's limit


class WireFile:
    """A message that fills a file.

    Args:
        file: a seekable binary file; unbuffered, or the file reads more than is needed.

    Attributes:
        size: the size of the file in bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._window, self._start = b"", 0
        self._ahead = WINDOW // 2  # bytes that the last read asked for
        self.size: int = file.seek(0, os.SEEK_END)
        if self.size > LONGEST:
            raise DecodeError(f"expected a message of at most {LONGEST} bytes, got a file of {self.size} bytes")

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Walk the fields of the message between two offsets: ``(tag, first, second)`` for each, as ``wire.fields``."""
        while at < end:
            tag, at = self._varint(at, end)
            kind = tag & 7
            if tag < 8 or tag >> 32:
                raise DecodeError(f"expected a field before byte {at}, got field number {tag >> 3}")
            if kind == wire.VARINT:
                value, stop = self._varint(at, end)
                yield tag, value, stop
            elif kind == wire.GROUP:
                stop = self._group_end(at, end, tag >> 3)
                yield tag, at, stop
            else:
                at, stop = self._payload(tag, at, end)
                yield tag, at, stop
            at = stop

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets. Raises DecodeError if the file has become shorter."""
        pieces = [self._window[start - self._start : stop - self._start]] if start >= self._start else []
        at = start + sum(map(len, pieces))
        if at < stop:
            self._file.seek(at)
        while at < stop:
            piece = self._file.read(stop - at)
            if not piece:
                raise DecodeError(f"expected {stop - start} bytes at byte {start}, got {at - start}")
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def _payload(self, tag: int, at: int, end: int) -> tuple[int, int]:
        """Return start and stop of the payload of a field that is neither a varint nor a group."""
        kind = tag & 7
        if kind == wire.LENGTH:
            size, at = self._varint(at, end)
        elif kind in (wire.FIXED32, wire.FIXED64):
            size = 4 if kind == wire.FIXED32 else 8
        else:
            raise DecodeError(f"expected a field before byte {at}, got wire type {kind} of field {tag >> 3}")
        if at + size > end:
            raise DecodeError(f"field {tag >> 3} at byte {at} needs {size} bytes, got {end - at}")
        return at, at + size

    def _group_end(self, at: int, end: int, number: int) -> int:
        """Return the offset after the group whose fields begin at ``at``."""
        open_groups = [number]
        while open_groups:
            tag, at = self._varint(at, end)
            kind = tag & 7
            if kind == wire.VARINT:
                _, at = self._varint(at, end)
            elif kind == wire.GROUP and len(open_groups) < wire.MAX_NESTING:
                open_groups.append(tag >> 3)
            elif kind == wire.END_GROUP and open_groups[-1] == tag >> 3:
                open_groups.pop()
            else:
                _, at = self._payload(tag, at, end)
        return at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the value of the varint at an offset, and the offset after it."""
        first = at - self._start
        if not 0 <= first < len(self._window) or (len(self._window) - first < wire.MAX_VARINT and self._more_after()):
            self._move(at)
            first = 0
        # A window may end before the file does only if the rest of it is longer than any varint.
        limit = min(end - self._start, len(self._window))
        try:
            value, stop = wire.read_varint(self._window, first, limit)
        except DecodeError:
            if limit - first < wire.MAX_VARINT:
                raise DecodeError(f"expected a varint at byte {at}, got the end of the message at byte {end}") from None
            raise DecodeError(
                f"expected a varint of at most {wire.MAX_VARINT} bytes at byte {at}, got a longer one"
            ) from None
        return value, self._start + stop

    def _move(self, at: int) -> None:
        """Let the window begin at an offset."""
        end = self._start + len(self._window)
        near = self._start <= at <= end + SHORT_SKIP
        self._ahead = min(2 * self._ahead, LONGEST_WINDOW) if near else WINDOW
        kept = self._window[at - self._start :] if near else b""
        self._file.seek(at + len(kept))
        self._window, self._start = kept + self._file.read(self._ahead), at

    def _more_after(self) -> bool:
        """Return whether the file continues after the window."""
        return self._start + len(self._window) < self.size


@contextmanager
def located(what: str, start: int) -> Iterator[None]:
    """Add to errors of a block where in the file the message begins that it reads."""
    try:
        yield
    except DecodeError as error:
        raise DecodeError(f"{what} at byte {start} (offsets count from there): {error}") from None
