"""The files that a run makes beside its output: journals, temporaries, lists of failures.

Their names can be guessed, and others may be able to write into the folder. So a new file never replaces anything, and
an existing one is opened only if it is a regular file: what somebody else has put in its place, such as a link to a
file elsewhere, is neither followed nor overwritten.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from tfs_client.errors import ConfigError

_BINARY = getattr(os, "O_BINARY", 0)  # Windows
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_own(path: str) -> int:
    """Open a file for reading and writing; create it if it does not exist. Returns the descriptor.

    Raises ConfigError if it is not a regular file, OSError if it cannot be opened.
    """
    while True:
        check_own(path)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY, 0o666)
        except FileExistsError:
            pass
        try:
            file = os.open(path, os.O_RDWR | _NO_LINK | _BINARY)
        except FileNotFoundError:  # it has just been removed
            continue
        except OSError:
            check_own(path)
            raise
        return _regular(file, path)


def read_own(path: str) -> BinaryIO:
    """A file to read. Raises ConfigError if it is not a regular file, OSError if it cannot be read."""
    check_own(path)
    file = os.open(path, os.O_RDONLY | _NO_LINK | _BINARY | getattr(os, "O_NONBLOCK", 0))
    return os.fdopen(_regular(file, path), "rb")


def new_file(path: str) -> BinaryIO:
    """A new file to write. One that a killed run has left there is removed first.

    Raises ConfigError for anything else that is there already.
    """
    check_own(path)
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
        raise ConfigError(f"{path!r} was created meanwhile and is left unchanged: write elsewhere") from None
    return os.fdopen(file, "w+b")


def check_own(path: str) -> None:
    """Raise ConfigError if the path exists and is not a regular file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # nothing is there; or opening it will say what is wrong
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
