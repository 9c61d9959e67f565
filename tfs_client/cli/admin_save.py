"""A file that is replaced as a whole, or stays as it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tfs_client.errors import ConfigError


@contextmanager
def replacement(path: str, text: str) -> Iterator[Callable[[], None]]:
    """Write a text beside a file; the function given puts it in the file's place.

    What can go wrong goes wrong here, while nothing else has been done: the disk is full, the directory is not there.
    A link is followed, and the file's permissions are kept. Without the function's call nothing is left behind.

    Raises ConfigError when the text cannot be written, the function OSError when the file cannot be replaced.
    """
    place = os.path.realpath(path)
    try:
        beside = _written(place, text)
    except OSError as error:
        raise ConfigError(f"cannot write {path!r}: {error.strerror or error}") from None
    try:
        yield lambda: os.replace(beside, place)
    finally:
        with suppress(FileNotFoundError):  # in its place already
            os.unlink(beside)


def _written(place: str, text: str) -> str:
    """The path of a new file that holds the text, in the directory of ``place``: a rename stays on one disk."""
    import tempfile  # slow to import, and few save

    if os.path.isdir(place):
        raise IsADirectoryError(0, "it is a directory")
    handle, beside = tempfile.mkstemp(prefix=f".{os.path.basename(place)}.", dir=os.path.dirname(place))
    try:
        with open(handle, "w", encoding="utf-8") as file:
            os.chmod(beside, _mode(place))
            file.write(text)
            file.flush()
            os.fsync(handle)
    except BaseException:
        os.unlink(beside)
        raise
    return beside


def _mode(place: str) -> int:
    """The permissions of the file, or those that a new one gets; mkstemp's keep everybody else out."""
    try:
        return os.stat(place).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
