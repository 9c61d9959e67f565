"""The fakes of tfs-serve (``--fake``): models made of their signatures alone."""

from __future__ import annotations

import logging

from tfs_client._printable import shown
from tfs_client.cli.serve.fake_paths import Fakes, name_and_path
from tfs_client.errors import InvalidArgumentError, TFServingError
from tfs_client.server import Server, fakes

log: logging.Logger = logging.getLogger("tfs_client.server")


def add_fakes(server: Server, given: Fakes) -> None:
    """Serve a fake of each model. Raises CallError for a model that cannot be read, or that is there already."""
    known: set[tuple[str, int]] = set()
    others = {*server.core.names()}
    for text in given.paths:
        name, path = name_and_path(text)
        try:
            model = fakes.read_path(path, tags=given.tags, prefer_tflite=given.prefer_tflite)
            servable = fakes.FakeServable(model)
        except TFServingError as error:
            raise InvalidArgumentError(f"--fake: {error}{_hint(text, given)}") from error
        name, version = name or model.name, 1 if model.version is None else model.version
        if not name:
            raise InvalidArgumentError(f"--fake: expected NAME={path}, because {shown(path)} does not name its model")
        if (name, version) in known:
            raise InvalidArgumentError(
                f"--fake: model {shown(name)} version {version} is given twice; write NAME={path} to rename one"
            )
        if name in others:
            raise InvalidArgumentError(
                f"--fake: the server has a model {shown(name)} already; write NAME={path} to rename the fake"
            )
        known.add((name, version))
        server.add_model(name, servable, version=version)
        log.warning(
            "Model %s version %d is a fake made of %s: it checks requests and returns zeros", name, version, path
        )


def _hint(text: str, given: Fakes) -> str:
    """Return how values of the flag are split, if one was."""
    if "=" not in text and len(given.paths) == 1:
        return ""
    return "; a value that is an existing path is not split at ',' or '=', so repeat the flag for each such path"
