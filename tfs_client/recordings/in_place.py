"""Changes of files in place, which are undone if they fail."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO


def write_at(file: BinaryIO, at: int, data: bytes) -> None:
    """Write all the bytes at an offset of a file without a buffer."""
    file.seek(at)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def write_or_restore(file: BinaryIO, at: int, data: bytes, before: bytes) -> None:
    """Write to the end of a file from an offset on; if that fails, put back what was there."""
    try:
        write_at(file, at, data)
    except BaseException:
        write_at(file, at, before)
        file.truncate(at + len(before))
        raise


def all_of(file: BinaryIO) -> bytes:
    """Return the rest of a file without a buffer."""
    pieces = []
    while piece := file.read(1 << 24):
        pieces.append(piece)
    return b"".join(pieces)


def created(path: str, flags: int) -> int:
    """Open a file, and create it if it does not exist: an opener for ``open``."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def size(path: str) -> int:
    """Return the bytes of a file; 0 without one."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def remove_if_empty(path: str) -> None:
    """Remove a file that a program has created and could not fill."""
    with suppress(OSError):
        if not os.stat(path).st_size:
            os.unlink(path)
