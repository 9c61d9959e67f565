"""Files that grow by whole pieces, whatever ends the process."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from tfs_client.cli.bulk.own_files import open_own, read_own
from tfs_client.errors import ConfigError


class GrowingFile:
    """A file that pieces are added to, and that no other run adds to at the same time.

    A piece is written by one call to the system. What is not whole when the file is closed, or was cut off by the end
    of a process or of the power, is taken away by ``keep`` and ``close``.

    Args:
        path: the file.
        given: whether the user has given this path; then a link is followed. Paths that are made up are not trusted.

    Raises ConfigError for a file that another run holds or that is none of a run's, OSError for one that cannot be
    opened.
    """

    def __init__(self, path: str, *, given: bool = False) -> None:
        self.path = path
        self._place = os.path.realpath(path) if given else path
        self._file = open_own(self._place)
        self._end: int | None = None  # nothing is taken away before it is known what is to be kept
        try:
            self._lock()
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{self.path!r}: another run is writing it") from None
        except OSError:  # a file system without locks
            return

    def content(self) -> BinaryIO:
        """What is in it, from the start. To be closed before anything is added."""
        return read_own(self._place)

    def keep(self, end: int) -> None:
        """Keep so many bytes and add after them."""
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, io.SEEK_SET)
        self._end = end

    def add(self, piece: bytes) -> None:
        """Add a piece. Raises OSError, and then the file does not hold it."""
        assert self._end is not None, "keep comes first"
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            self.keep(self._end)
            raise
        self._end += len(piece)

    def close(self) -> None:
        """Close it. May be called again."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        try:
            if self._end is not None and os.fstat(file).st_size != self._end:
                os.ftruncate(file, self._end)
        finally:
            os.close(file)
