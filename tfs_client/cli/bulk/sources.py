"""Sources: the pictures that files, folders, patterns and lists name."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from tfs_client.cli.bulk.outcomes import Failed
from tfs_client.errors import ConfigError, ImageError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
"""What a picture in a folder ends in. Files that are named one by one, or by a pattern, may end in anything."""


def listed(images: Iterable[str], input_lists: Iterable[str]) -> tuple[list[str], list[Failed]]:
    """The names of all pictures, each once, in the order of the sources; and the sub-folders that cannot be read.

    Args:
        images: files; folders, whose pictures are taken in the order of their names, sub-folders too; and patterns.
        input_lists: files with a path in each line; ``-`` is standard input.

    Raises ConfigError for a source that cannot be read or has nothing. Whether a file can be read shows later.
    """
    names: dict[str, str] = {}  # by place
    unreadable: list[Failed] = []
    here = os.getcwd()
    for source in (*(_pictures(image, unreadable) for image in images), *map(_lines, input_lists)):
        for path in source:
            name = str(PurePath(path))  # without detours such as "./"
            names.setdefault(place(name, here), name)
    if not names and not unreadable:
        raise ConfigError("--input-list: there is no path in it")
    return list(names.values()), unreadable


def place(name: str, folder: str) -> str:
    """Where a picture is, by its name in a folder: the same for every name that it has, links to files apart."""
    path = os.path.join(folder, name)
    if ".." not in path:
        return path
    try:
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))  # links may lead elsewhere
    except ValueError:  # a name with a zero byte is the name of nothing
        return path


def text_of(name: str) -> str:
    r"""A name in rows and among failures: bytes in it that are no UTF-8 become text such as ``\xff``."""
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(name).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # no name of a file, but text that somebody has written into an output
            return name.encode("utf-8", "backslashreplace").decode()
    return name


def _pictures(source: str, unreadable: list[Failed]) -> Iterable[str]:
    if os.path.isdir(source):
        before = len(unreadable)
        try:
            found = list(_folder(source, unreadable))
        except OSError as error:
            raise ConfigError(f"--image: cannot read the folder {source!r}: {error.strerror or error}") from None
        if len(unreadable) > before:
            return found
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


def _folder(path: str, unreadable: list[Failed]) -> Iterator[str]:
    """Pictures in a folder: its files first, then those of its folders, all by name. Hidden ones are left out.

    Folders in it that cannot be read are put into the list; raises OSError for itself.
    """
    with os.scandir(path) as entries:
        seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield from (entry.path for entry in seen if _suffix(entry.name) in SUFFIXES and _is_file(entry))
    for entry in seen:
        if entry.is_dir(follow_symlinks=False):  # a link may lead back up
            try:
                yield from _folder(entry.path, unreadable)
            except OSError as error:
                told = ImageError(f"cannot read the folder {entry.path!r}: {error.strerror or error}")
                unreadable.append(Failed(entry.path, told))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle, a folder without permission: reading it will tell
        return True


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
    except MemoryError as error:
        raise ConfigError(f"--input-list: cannot read {path!r}: it does not fit into memory") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = (line.rstrip(b"\r") for line in data.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]
