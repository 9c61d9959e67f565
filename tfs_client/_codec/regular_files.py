"""Reading regular files of bounded size.

Opening a named pipe waits for a writer, and reading a device may never end. These functions refuse both.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from tfs_client.errors import InvalidArgumentError

Path = str | os.PathLike[str]

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


def opened(path: Path, *, buffered: bool = True) -> BinaryIO:
    """Open a regular file. Raises OSError, and InvalidArgumentError for other kinds of files.

    Readers that skip most of a file need one that is not buffered: a buffer reads more than they ask for.
    """
    name = os.fspath(path)
    file: BinaryIO = open(os.open(name, _FLAGS), "rb", buffering=-1 if buffered else 0)  # noqa: SIM115
    try:
        kind = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
        if kind == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if kind != stat.S_IFREG:
            raise InvalidArgumentError(f"{name}: expected a regular file, got {_KINDS.get(kind, 'something else')}")
    except BaseException:
        file.close()
        raise
    return file


def check(path: Path) -> None:
    """Raise OSError if the path names something other than a regular file. No-op if it does not exist.

    For files that are to be written or replaced: a device would be lost, and opening a named pipe may wait forever.
    """
    name = os.fspath(path)
    try:
        kind = stat.S_IFMT(os.stat(name).st_mode)
    except OSError:  # opening it reports the error, if there is one
        return
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"expected a regular file, got {_KINDS.get(kind, 'something else')}", name)


def read(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises OSError, and InvalidArgumentError if the file is larger or is not a regular file.
    """
    with opened(path) as file:
        large = os.fstat(file.fileno()).st_size > limit
        data = b"" if large else file.read(limit + 1)  # files in /proc report no size
    if large or len(data) > limit:
        raise InvalidArgumentError(f"{os.fspath(path)}: expected a file of at most {limit} bytes, got a larger one")
    return data
