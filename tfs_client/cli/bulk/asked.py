"""What a run was asked for, kept beside its output, so that another run does not add rows of another kind.

With it goes the working directory, where names of pictures are relative to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tfs_client.errors import ConfigError

FOLDER = "folder"

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
    try:
        with open(beside, "w", encoding="ascii") as file:
            file.write(json.dumps(asked, indent=2) + "\n")
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
            f"{output!r} was begun with other options: {told}. Give the same ones, or --overwrite to begin anew"
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
            f"this is {here!r}: run the command there, give absolute paths, or --overwrite to begin anew"
        )
    return here


def _before(output: str) -> dict[str, Any]:
    """What an output was begun with; nothing when that is not known."""
    try:
        with open(path_for(output), encoding="utf-8") as file:
            before = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path_for(output)!r}: {error}") from None
    if not isinstance(before, dict):
        raise ConfigError(f"{path_for(output)!r} is not what tfs-predict has written")
    return before


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
