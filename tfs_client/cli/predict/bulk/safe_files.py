"""Opening files whose paths are derived from the output's: journals, temporary files, lists of failures.

Others can guess these paths, and may have permission to write to the folder. So a new file never replaces anything
else, and only regular files are opened: a symbolic link, for example, is neither followed nor overwritten.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from tfs_client.errors import ConfigError

_BINARY = getattr(os, "O_BINARY", 0)  # Windows
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_or_create(path: str) -> int:
    """Open a file for reading and writing; create it if it does not exist. Returns the descriptor.

    Raises ConfigError if it is not a regular file, OSError if it cannot be opened.
    """
    while True:
        check_regular(path)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY, 0o666)
        except FileExistsError:
            pass
        try:
            file = os.open(path, os.O_RDWR | _NO_LINK | _BINARY)
        except FileNotFoundError:  # it was removed in the meantime
            continue
        except OSError:
            check_regular(path)
            raise
        return _regular(file, path)


def open_existing(path: str) -> BinaryIO:
    """Open a file for reading. Raises ConfigError if it is not a regular file, OSError if it cannot be opened."""
    check_regular(path)
    file = os.open(path, os.O_RDONLY | _NO_LINK | _BINARY | getattr(os, "O_NONBLOCK", 0))
    return os.fdopen(_regular(file, path), "rb")


def create_new(path: str) -> BinaryIO:
    """Create a file for writing. A regular file of the same user, left by a killed run, is replaced.

    Raises ConfigError for anything else at the path.
    """
    check_regular(path)
    try:
        found = os.lstat(path)
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise ConfigError(f"{path!r} belongs to another user and is left unchanged: move it, or write elsewhere")
        os.unlink(path)
    except FileNotFoundError:
        pass
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY, 0o666)
    except FileExistsError:
        raise ConfigError(f"{path!r} was created in the meantime and is left unchanged: write elsewhere") from None
    return os.fdopen(file, "w+b")


def temporary_of(path: str) -> str:
    """Return the path where an output is written before it replaces the old file."""
    return f"{path}.new"


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Give a new file to write, which replaces the file at ``path`` at the end; it is removed on errors."""
    new = temporary_of(path)
    file = create_new(new)
    try:
        with file:
            yield file
        os.replace(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise


def check_regular(path: str) -> None:
    """Raise ConfigError if the path exists and is not a regular file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # it does not exist, or opening it raises the error
        return
    if stat.S_ISLNK(mode):
        raise ConfigError(f"{path!r} is a symbolic link, which is not followed: remove it, or write elsewhere")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path!r} is not a regular file and is left unchanged: remove it, or write elsewhere")


def _regular(file: int, path: str) -> int:
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise ConfigError(f"{path!r} is not a regular file and is left unchanged: remove it, or write elsewhere")
