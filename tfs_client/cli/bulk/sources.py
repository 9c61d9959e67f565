"""Sources: the pictures that files, folders, patterns and lists name."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from tfs_client.errors import ConfigError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
"""What a picture in a folder ends in. Files that are named one by one, or by a pattern, may end in anything."""


def listed(images: Iterable[str], input_lists: Iterable[str]) -> list[str]:
    """The names of all pictures, each once, in the order of the sources.

    Args:
        images: files; folders, whose pictures are taken in the order of their names, sub-folders too; and patterns.
        input_lists: files with a path in each line; ``-`` is standard input.

    Raises ConfigError for a source that cannot be read or has nothing. Whether a file can be read shows later.
    """
    names: dict[str, None] = {}
    for source in images:
        names |= dict.fromkeys(map(_plain, _pictures(source)))
    for path in input_lists:
        names |= dict.fromkeys(map(_plain, _lines(path)))
    if not names:
        raise ConfigError("--input-list: there is no path in it")
    return list(names)


def _plain(path: str) -> str:
    """A path without detours such as ``./``, so that a file has one name."""
    return str(PurePath(path))


def _pictures(source: str) -> Iterable[str]:
    if os.path.isdir(source):
        found = list(_folder(source))
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        nothing = f"there is no picture in the folder {source!r} (looked for: {kinds})"
    elif _is_pattern(source):
        found = sorted(path for path in glob.iglob(source, recursive=True) if os.path.isfile(path))
        nothing = f"no file matches {source!r}"
    else:
        return [source]
    if not found:
        raise ConfigError(f"--image: {nothing}")
    return found


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not os.path.lexists(source)  # a name may have brackets in it


def _folder(path: str) -> Iterator[str]:
    """Pictures in a folder: its files first, then those of its folders, all by name. Hidden ones are left out."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigError(f"--image: cannot read the folder {path!r}: {error.strerror or error}") from None
    seen = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (entry.path for entry in seen if entry.is_file() and _suffix(entry.name) in SUFFIXES)
    for entry in seen:
        if entry.is_dir(follow_symlinks=False):  # a link may lead back up
            yield from _folder(entry.path)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _lines(path: str) -> list[str]:
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        raise ConfigError(f"--input-list: cannot read {path!r}: {error.strerror or error}") from None
    lines = (line.rstrip(b"\r") for line in data.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]
