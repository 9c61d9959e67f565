"""Replacement of a recording's two files by new ones, so that a program may be killed at any moment.

Both new files are written whole beside the old ones, the TFRecord file first. Then they are renamed, the TFRecord file
first. So a new sidecar beside a new TFRecord file belongs to a replacement that has not begun, and the old files count.
A new sidecar alone belongs to one that is half done: it is the sidecar of the TFRecord file, and the next writer
renames it. The lock of the old TFRecord file is held for all this, and that of the new one until both have their names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO

from tfs_client.recordings.file_lock import locked_too

_UNFINISHED = ".unfinished"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def replace_both(records: str, record_data: bytes, sidecar: str, sidecar_data: bytes) -> None:
    """Replace both files. If this fails, both old ones stay, or both new ones count. Raises OSError.

    Args:
        records, sidecar: the paths of the TFRecord file, whose lock the caller holds, and of its sidecar.
    """
    finish(records, sidecar)
    records, sidecar = _file(records), _file(sidecar)
    new_records, new_sidecar = records + _UNFINISHED, sidecar + _UNFINISHED
    _discard(new_records, new_sidecar)
    try:
        with open(os.open(new_records, _FLAGS, 0o666), "wb") as file, locked_too(file.fileno()):
            _fill(file, record_data, new_records, records)
            with open(os.open(new_sidecar, _FLAGS, 0o666), "wb") as other:
                _fill(other, sidecar_data, new_sidecar, sidecar)
            os.replace(new_records, records)
            os.replace(new_sidecar, sidecar)
    except BaseException:
        if os.path.lexists(new_records):  # the replacement has not begun
            _discard(new_records, new_sidecar)
        raise


def sidecar_of(records: str, sidecar: str) -> str:
    """Return where the sidecar is: at its path, or beside it after a replacement that was killed half done."""
    records, sidecar = _file(records), _file(sidecar)
    new = sidecar + _UNFINISHED
    half_done = os.path.lexists(new) and os.path.lexists(records) and not os.path.lexists(records + _UNFINISHED)
    return new if half_done else sidecar


def finish(records: str, sidecar: str) -> None:
    """Finish a replacement that was killed half done. The caller holds the TFRecord file's lock. Raises OSError."""
    there, own = sidecar_of(records, sidecar), _file(sidecar)
    if there != own:
        os.replace(there, own)


def discard(records: str, sidecar: str) -> None:
    """Discard what a replacement has left whose TFRecord file has been deleted since. Raises OSError."""
    _discard(_file(records) + _UNFINISHED, _file(sidecar) + _UNFINISHED)


def replace_one(path: str, data: bytes) -> None:
    """Replace one file. If this fails, the old one stays. Raises OSError."""
    path = _file(path)
    beside = f"{path}.{os.urandom(6).hex()}"
    try:
        with open(os.open(beside, _FLAGS, 0o666), "wb") as file:
            _fill(file, data, beside, path)
        os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def _file(path: str) -> str:
    """Return the file behind a link, so that the link stays; other paths are returned as they are."""
    return os.path.realpath(path) if os.path.islink(path) else path


def _discard(new_records: str, new_sidecar: str) -> None:
    for path in (new_sidecar, new_records):  # the sidecar first: alone it would count
        with suppress(FileNotFoundError):
            os.unlink(path)


def _fill(file: BinaryIO, data: bytes, path: str, old: str) -> None:
    """Write a new file to the disk, with the permissions of the old one."""
    with suppress(FileNotFoundError):
        os.chmod(path, os.stat(old).st_mode & 0o777)
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
