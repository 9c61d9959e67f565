"""Files of reports, checked before the load: an hour of load must not end in a missing folder."""

from __future__ import annotations

import os

from tfs_client._codec import regular_files
from tfs_client.errors import ConfigError


def check_writable(flag: str, path: str) -> None:
    """Raise ConfigError for a file that could not be written, or is none."""
    if not os.path.basename(path):
        raise ConfigError(f"{flag}: expected the name of a file, got {path!r}")
    folder = os.path.dirname(os.path.realpath(path))
    try:
        regular_files.check(path)
    except OSError as error:
        raise ConfigError(f"{flag}: cannot write {path!r}: {error.strerror or error}") from None
    if not os.path.isdir(folder):
        raise ConfigError(f"{flag}: cannot write {path!r}: the folder {folder!r} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{flag}: cannot write {path!r}: no permission to write to {folder!r}")
