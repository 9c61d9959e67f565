"""Find the file of an exported model in its folder, and the name and version that the folder gives it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfs_client.errors import ConfigError

SAVED_MODEL = "saved_model.pb"

_OTHER_FORMS = {"saved_model.pbtxt": "as text", "saved_model.cpb": "in chunks"}

_VERSION = re.compile("[0-9]{1,19}")
_MOST = (1 << 63) - 1


class ModelFile(NamedTuple):
    """A model's file.

    Attributes:
        name: the folder above a numbered version, else the folder's own name; "" for the root of the file system.
        version: the number of the folder; None for a folder without a number.
    """

    path: Path
    name: str
    version: int | None


def find(path: str | os.PathLike[str], files: Sequence[str]) -> ModelFile:
    """Find a model: the path is one of its files, its folder, or a folder with versions (the highest is used).

    Args:
        files: the names to look for in a folder, the preferred one first.

    Raises OSError, and ConfigError for a path without a model.
    """
    if not os.fspath(path):
        raise ConfigError('expected a path, got an empty one; write "." for the current directory')
    path = Path(os.path.abspath(path))  # "." has no name; links keep theirs
    if not path.is_dir():
        _check_form(path)
        return _named(path)
    versions = sorted((number, entry) for entry in path.iterdir() if (number := _version(entry.name)) is not None)
    for folder in (path, *(entry for _, entry in reversed(versions))):
        for file in files:
            if (folder / file).is_file():
                return _named(folder / file)
    for folder in (path, *(entry for _, entry in versions)):
        for file in _OTHER_FORMS:
            if (folder / file).is_file():
                _check_form(folder / file)
    names, found = (files[0], "nothing") if len(files) == 1 else (" or ".join(files), "none of them")
    raise ConfigError(f"expected {names} in {path} or in a numbered subdirectory, found {found}")


def _check_form(file: Path) -> None:
    """Raise ConfigError for a SavedModel in another form than the usual one."""
    if form := _OTHER_FORMS.get(file.name):
        raise ConfigError(
            f"{file} is a SavedModel {form}, which only TensorFlow reads: expected {SAVED_MODEL}; save the model in "
            "binary form, as one file"
        )


def _named(file: Path) -> ModelFile:
    version = _version(file.parent.name)
    folder = file.parent if version is None else file.parent.parent
    return ModelFile(file, folder.name, version)


def _version(name: str) -> int | None:
    """Return the version that a directory's name denotes; None for other names."""
    return int(name) if _VERSION.fullmatch(name) and int(name) <= _MOST else None
