"""The values of ``--fake``: lists of paths, with or without names. Paths may have commas and equals signs, too."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tfs_client._printable import shown
from tfs_client.errors import InvalidArgumentError

_NAMED = re.compile("([^/\\\\=]+)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Fakes:
    """The fakes to serve.

    Attributes:
        paths: the exported models, as NAME=PATH or PATH.
        tags: the tags of the graph in a SavedModel; none means "serve".
        prefer_tflite: whether ``model.tflite`` comes before ``saved_model.pb``.
    """

    paths: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    prefer_tflite: bool = False


def split(values: Sequence[str]) -> tuple[str, ...]:
    """Return each PATH or NAME=PATH in the values of the flag. Raises InvalidArgumentError for a value without any.

    A value whose path exists is one path, also with commas in it.
    """
    found: list[str] = []
    for value in values:
        whole = os.path.exists(name_and_path(value)[1])
        paths = [value] if whole else [path for item in value.split(",") if (path := item.strip())]
        if not paths:
            raise InvalidArgumentError(f"--fake: expected PATH or NAME=PATH, got {shown(value)}")
        found += paths
    return tuple(found)


def name_and_path(text: str) -> tuple[str, str]:
    """Split NAME=PATH; the name is "" without one. A text that is an existing path is a path."""
    named = None if os.path.exists(text) else _NAMED.fullmatch(text)
    return (named[1], named[2]) if named else ("", text)
