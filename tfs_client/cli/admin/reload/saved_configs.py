"""Saving the previous configuration next to the file of the new one."""

from __future__ import annotations

import os
import time

from tfs_client.cli.replaced_files import mode
from tfs_client.errors import ConfigError


def save_next_to(path: str, text: str) -> str:
    """Write a text to a new file next to ``path``, or to a temporary file if that fails. Returns the new file's path.

    Raises ConfigError if neither can be written.
    """
    name = f"{os.path.basename(path)}.before-{time.strftime('%Y%m%d-%H%M%S')}"
    if os.path.isfile(path):  # no file can be created next to a pipe such as /dev/fd/63
        for count in range(1, 100):
            saved = os.path.join(os.path.dirname(path), name if count == 1 else f"{name}-{count}")
            try:
                handle = os.open(saved, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode(path))
            except FileExistsError:
                continue
            except OSError:  # a read-only directory
                break
            return _filled(saved, handle, text)
    import tempfile  # slow to import

    try:
        handle, saved = tempfile.mkstemp(prefix=f"{name}-")
    except OSError as error:
        raise ConfigError(f"cannot save the previous configuration: {error.strerror or error}") from None
    return _filled(saved, handle, text)


def _filled(path: str, handle: int, text: str) -> str:
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        os.unlink(path)
        raise ConfigError(f"cannot save the previous configuration as {path!r}: {error.strerror or error}") from None
    return path
