"""A file that is locked while it is open, among threads and processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from tfs_client._codec import regular_files

try:
    import fcntl
except ImportError:  # Windows, where only threads exclude each other
    fcntl = None  # type: ignore[assignment]

_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_threads = threading.Lock()


@contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Open a file without buffers, and lock it until the end of the ``with`` block.

    A writer creates the file if it does not exist. A file may be replaced while this waits for its lock; then the new
    one is opened. Each call opens the file anew, so the lock excludes other threads, too.

    Args:
        shared: open it for reading, and permit other readers.

    Raises OSError for a file that cannot be opened or is not a regular file. On file systems without locks, nothing is
    locked.
    """
    while True:
        regular_files.check(path)
        descriptor = os.open(path, _FLAGS | (os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT), 0o666)
        with open(descriptor, "rb" if shared else "r+b", buffering=0) as file, _lock_of(descriptor, shared):
            if _is_at(descriptor, path):
                yield file
                return


@contextmanager
def locked_too(descriptor: int) -> Iterator[None]:
    """Lock another file, which is to replace one that this thread has locked."""
    if fcntl is None:  # the other file's lock is for all files
        yield
        return
    with _lock_of(descriptor, shared=False):
        yield


@contextmanager
def _lock_of(descriptor: int, shared: bool) -> Iterator[None]:
    if fcntl is None:
        with _threads:
            yield
        return
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:  # not by closing: a process that another thread forks meanwhile keeps the descriptor open
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
