"""Files of an operator or a model: regular files of bounded size.

Opening a named pipe waits for a writer, and a device may never end. The files that are read here do neither.
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


def opened(path: Path) -> BinaryIO:
    """Open a regular file. Raises OSError, and InvalidArgumentError if it is not a regular file."""
    name = os.fspath(path)
    file = open(os.open(name, _FLAGS), "rb")  # noqa: SIM115  the caller closes it
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


def read(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises OSError, and InvalidArgumentError if the file is larger or is not a regular file.
    """
    with opened(path) as file:
        large = os.fstat(file.fileno()).st_size > limit
        data = b"" if large else file.read(limit + 1)  # files of /proc have no size
    if large or len(data) > limit:
        raise InvalidArgumentError(f"{os.fspath(path)}: expected a file of at most {limit} bytes, got a larger one")
    return data
