"""The sources of pictures: files, folders, patterns and lists."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from tfs_client.cli.predict.bulk.outcomes import Failed
from tfs_client.errors import ConfigError, ImageError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
"""Suffixes of pictures in a folder. Files that are named individually or by a pattern may have any suffix."""


def listed(images: Iterable[str], input_lists: Iterable[str]) -> tuple[list[str], list[Failed]]:
    """Return the names of all pictures, each once, in the order of the sources; and the sub-folders without permission.

    Args:
        images: files; folders, whose pictures are taken in the order of their names, with sub-folders; and patterns.
        input_lists: files with one path per line, or with a NUL byte after each path, as ``find -print0`` writes them;
            ``-`` is standard input.

    Raises ConfigError for a source that cannot be read or has no pictures. Files are not opened yet.
    """
    names: dict[str, str] = {}  # by place
    unreadable: list[Failed] = []
    here = os.getcwd()
    for source in (*(_pictures(image, unreadable) for image in images), *map(_paths, input_lists)):
        for path in source:
            name = str(PurePath(path))  # normalized, without "./"
            names.setdefault(place(name, here), name)
    if not names and not unreadable:
        raise ConfigError("--input-list: expected a path per line, got an empty list")
    return list(names.values()), unreadable


def place(name: str, folder: str) -> str:
    """Return the location of a picture by its name in a folder: the same for all its names, except links to files."""
    path = os.path.join(folder, name)
    if ".." not in path:
        return path
    try:
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))  # links may lead elsewhere
    except ValueError:  # a name with a zero byte, which no file has
        return path


def text_of(name: str) -> str:
    r"""Return a name for rows and failures: bytes that are not UTF-8 become text such as ``\xff``."""
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(name).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # not a file name, but text from an edited output
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
        nothing = f"the folder {source!r} contains no pictures (suffixes: {kinds})"
    elif _is_pattern(source):
        found = sorted(path for path in glob.iglob(source, recursive=True) if os.path.isfile(path))
        nothing = f"no file matches {source!r}"
    else:
        return [source]
    if not found:
        raise ConfigError(f"--image: {nothing}")
    return found


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not os.path.lexists(source)  # file names may contain brackets


def _folder(path: str, unreadable: list[Failed]) -> Iterator[str]:
    """Yield the pictures of a folder: its files first, then its sub-folders, by name. Hidden ones are skipped.

    Sub-folders that cannot be read are added to the list. Raises OSError if the folder itself cannot be read.
    """
    with os.scandir(path) as entries:
        seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield from (entry.path for entry in seen if _suffix(entry.name) in SUFFIXES and _is_file(entry))
    for entry in seen:
        if entry.is_dir(follow_symlinks=False):  # a link may lead back up
            try:
                yield from _folder(entry.path, unreadable)
            except OSError as error:
                failure = ImageError(f"cannot read the folder: {error.strerror or error}")
                unreadable.append(Failed(entry.path, failure))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a circular link, a folder without permission: reading the file raises the error
        return True


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _paths(path: str) -> list[str]:
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
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"--input-list: expected UTF-8 or any bytes without NUL, got UTF-16 in {path!r}: convert it")
    if b"\0" in data:
        found = [name for name in data.split(b"\0") if name]
    else:
        lines = (line.rstrip(b"\r") for line in data.split(b"\n"))
        found = [line for line in lines if line.strip() and line != codecs.BOM_UTF8]
    if found and found[0].startswith(codecs.BOM_UTF8) and not os.path.lexists(found[0]):
        found[0] = found[0].removeprefix(codecs.BOM_UTF8)
    return [os.fsdecode(name) for name in found if name]
