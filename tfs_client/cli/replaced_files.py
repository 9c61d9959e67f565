"""Replacing a file atomically: readers see the old content or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tfs_client._codec import regular_files
from tfs_client.errors import ConfigError


@contextmanager
def replacement(path: str, content: Iterable[bytes]) -> Iterator[Callable[[], None]]:
    """Write the content to a temporary file; the function that the context gives moves it to ``path``.

    So errors such as a full disk or a missing directory occur before anything else is done. Links are followed, and the
    file's permissions are kept. If the function is not called, the temporary file is removed.

    Raises ConfigError when the content cannot be written, OSError from the function when the file cannot be replaced,
    and what ``content`` raises.
    """
    if path == "-":
        raise ConfigError("cannot write '-': expected the name of a file; ./- is a file with this name")
    place = os.path.realpath(path)
    try:
        temporary = _written(place, content)
    except OSError as error:
        raise ConfigError(f"cannot write {path!r}: {error.strerror or error}") from None
    try:
        yield lambda: os.replace(temporary, place)
    finally:
        with suppress(FileNotFoundError):  # it has been moved
            os.unlink(temporary)


def replace(path: str, content: Iterable[bytes]) -> None:
    """Write the content to a file atomically. Raises ConfigError, and what ``content`` raises."""
    with replacement(path, content) as move:
        try:
            move()
        except OSError as error:
            raise ConfigError(f"cannot write {path!r}: {error.strerror or error}") from None


def mode(place: str) -> int:
    """Return the file's permissions, or the default for a new file: mkstemp would exclude all other users."""
    try:
        return os.stat(place).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _written(place: str, content: Iterable[bytes]) -> str:
    """Write a new file in the directory of ``place``, so that a rename stays on one file system."""
    import tempfile  # slow to import, and rarely needed

    regular_files.check(place)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(place)}.", dir=os.path.dirname(place))
    try:
        with open(handle, "wb") as file:
            os.chmod(temporary, mode(place))
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(handle)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary
