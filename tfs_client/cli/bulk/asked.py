"""What a run was asked for, kept beside its output, so that another run does not add rows of another kind."""

from __future__ import annotations

import json
import os
from typing import Any

from tfs_client.errors import ConfigError

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


def keep(output: str, asked: dict[str, Any]) -> None:
    """Write it, as a whole."""
    beside = f"{path_for(output)}.new"
    with open(beside, "w", encoding="ascii") as file:
        file.write(json.dumps(asked, indent=2) + "\n")
    os.replace(beside, path_for(output))


def check(output: str, asked: dict[str, Any]) -> None:
    """Raise ConfigError when the output was begun with other options. One that tells nothing is believed."""
    try:
        with open(path_for(output), encoding="utf-8") as file:
            before = json.load(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path_for(output)!r}: {error}") from None
    if not isinstance(before, dict):
        raise ConfigError(f"{path_for(output)!r} is not what tfs-predict has written")
    differing = [name for name in asked if before.get(name) != asked[name]]
    if differing:
        told = "; ".join(f"{_flag(name)} was {before.get(name)!r} and is {asked[name]!r}" for name in differing)
        raise ConfigError(
            f"{output!r} was begun with other options: {told}. Give the same ones, or --overwrite to begin anew"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
