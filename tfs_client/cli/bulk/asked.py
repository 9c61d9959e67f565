"""What a run was asked for, kept beside its output, so that another run does not add rows of another kind.

With it goes the working directory, where names of pictures are relative to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tfs_client.cli.bulk.own_files import new_file, read_own
from tfs_client.errors import ConfigError, TFServingError

FOLDER = "folder"
LONGEST = 1 << 26  # bytes; inputs of the command line are in it

_ADVICE = "Remove it to continue without comparing options, or give --overwrite to start again"

FLAGS = (
    "version",
    "label",
    "signature",
    "image_input",
    "input",
    "size",
    "scale",
    "layout",
    "dtype",
    "encoded",
    "top",
    "labels",
)


def asked_of(options: Any, model: str) -> dict[str, Any]:
    """The options that make a row what it is, as JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps({name: getattr(options, name) for name in FLAGS}))
    return {"model": model, **found}


def path_for(output: str) -> str:
    """Where it is kept."""
    return f"{output}.run.json"


def files_of(output: str) -> list[str]:
    """Where it is kept, and where it is written first."""
    return [path_for(output), f"{path_for(output)}.new"]


def keep(output: str, asked: dict[str, Any]) -> None:
    """Write it, as a whole."""
    whole, beside = files_of(output)
    file = new_file(beside)
    try:
        with file:
            file.write(json.dumps(asked, indent=2).encode("ascii") + b"\n")
        os.replace(beside, whole)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def check(output: str, asked: dict[str, Any]) -> None:
    """Raise ConfigError when the output was begun with other options. One that tells nothing is believed."""
    before = _before(output)
    if not before:
        return
    differing = [name for name in asked if before.get(name) != asked[name]]
    if differing:
        told = "; ".join(f"{_flag(name)} was {before.get(name)!r} and is {asked[name]!r}" for name in differing)
        raise ConfigError(
            f"{output!r} was started with other options: {told}. Give the same ones, or --overwrite to start again"
        )


def folder_of(output: str, names: Iterable[str]) -> str | None:
    """The directory that names of pictures are relative to, those of the output and these; None when none is.

    Raises ConfigError when these are relative to another one than those of the output.
    """
    before: str | None = _before(output).get(FOLDER)
    if all(map(os.path.isabs, names)):
        return before
    here = os.getcwd()
    if before not in (None, here):
        raise ConfigError(
            f"{output!r} was begun in the directory {before!r}, which names of pictures in it are relative to, and "
            f"this is {here!r}: run the command there, give absolute paths, or --overwrite to start again"
        )
    return here


def _before(output: str) -> dict[str, Any]:
    """What an output was begun with; nothing when that is not known."""
    path = path_for(output)
    try:
        with read_own(path) as file:
            data = file.read(LONGEST + 1)
        before = json.loads(data) if len(data) <= LONGEST else None
    except FileNotFoundError:
        return {}
    except TFServingError:
        raise
    except Exception as error:  # a disk that fails; what is no JSON, or too deep
        raise ConfigError(f"cannot read {path!r}: {error}. {_ADVICE}") from error
    if not isinstance(before, dict) or not isinstance(before.get(FOLDER), str | None):
        raise ConfigError(f"{path!r} was not written by tfs-predict. {_ADVICE}")
    return before


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
