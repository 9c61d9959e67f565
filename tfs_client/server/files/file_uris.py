"""Names of files and directories as tensorflow::Env accepts them: paths, and URIs with the scheme ``file``.

Source: tsl/platform/file_system.cc (ParseURI), env.cc (GetFileSystemForFile), default/posix_file_system.h.
"""

from __future__ import annotations

import os
import re

from tfs_client._codec import regular_files
from tfs_client.errors import UnimplementedError
from tfs_client.server.files.file_errors import file_error

_URI = re.compile(r"([A-Za-z][0-9A-Za-z.]+)://[^/]*(.*)", re.DOTALL)  # schemes have at least two letters


def is_uri(name: str) -> bool:
    """Whether a name is a URI, which does not depend on the working directory."""
    return _URI.match(name) is not None


def local_path(name: str) -> str:
    """Return the path of a name: the name itself, or the path of a ``file`` URI, literally and without its host.

    Raises UnimplementedError for the URIs of other file systems.
    """
    uri = _URI.fullmatch(name)
    if uri is None:
        return name
    if uri[1] != "file":
        raise UnimplementedError(f"File system scheme '{uri[1]}' not implemented (file: '{name}')")
    return uri[2]


def read(name: str | os.PathLike[str], limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes. Raises CallError with the name as given."""
    given = os.fspath(name)
    try:
        return regular_files.read(local_path(given), limit)
    except OSError as error:
        error.filename = given
        raise file_error(error, given) from None
