"""Append-only files that contain whole records only, even after a crash."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from tfs_client.cli.predict.bulk.safe_files import open_existing, open_or_create
from tfs_client.errors import ConfigError

Found = TypeVar("Found")


class AppendFile:
    """A file to which records are appended, locked against other runs.

    A record is written by a single system call. ``keep`` and ``close`` truncate an incomplete record, which a crash or
    a power failure may leave at the end.

    Args:
        path: the file.
        follow_link: whether to follow a symbolic link: only for paths that the user gave. Derived paths, such as that
            of a journal, can be guessed by others.

    Raises ConfigError for a file that another run has locked or that is not a regular file, OSError for one that
    cannot be opened.
    """

    def __init__(self, path: str, *, follow_link: bool = False) -> None:
        self.path = path
        self._place = os.path.realpath(path) if follow_link else path
        self._file = open_or_create(self._place)
        self._end: int | None = None  # None until keep(): before that, the file must not be truncated
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
        """Open the content for reading. Close it before adding a record."""
        return open_existing(self._place)

    def resume(self, read: Callable[[], tuple[Found, int]]) -> Found:
        """Read what the file holds, to append to it. An error closes the file and leaves it unchanged.

        Args:
            read: returns what it finds, and the end of the last whole record; the file is truncated there.
        """
        try:
            found, end = read()
            self.keep(end)
        except BaseException:
            self.close()
            raise
        return found

    def keep(self, end: int) -> None:
        """Truncate the file to ``end`` bytes; records are appended there."""
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, io.SEEK_SET)
        self._end = end

    def add(self, record: bytes) -> None:
        """Append a record. When it raises OSError, the file does not contain the record."""
        assert self._end is not None, "call keep first"
        try:
            rest = memoryview(record)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            self.keep(self._end)
            raise
        self._end += len(record)

    def rewrite(self, place: int, data: bytes) -> None:
        """Replace bytes of a record by as many others."""
        assert self._end is not None, "call keep first"
        assert place + len(data) <= self._end, "expected a place within the records"
        os.lseek(self._file, place, io.SEEK_SET)
        try:
            os.write(self._file, data)
        finally:
            os.lseek(self._file, self._end, io.SEEK_SET)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        try:
            if self._end is not None and os.fstat(file).st_size != self._end:
                os.ftruncate(file, self._end)
        finally:
            os.close(file)
