"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from tfs_client._codec import regular_files


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Give a new file to write, in the same folder, which replaces the file at ``path`` at the end.

    After an error the old file is as it was. A link is replaced, not followed. Others may be able to write to the
    folder: the new file's name cannot be guessed, and nothing that exists is opened. Raises OSError.
    """
    regular_files.check(path)
    new = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(new, flags, 0o666), "w+b") as file:
        try:
            yield file
            file.close()
            os.replace(new, path)
        except BaseException:
            file.close()
            with suppress(OSError):
                os.unlink(new)
            raise
