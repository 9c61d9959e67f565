"""KnownModels: the models, versions and signatures that calls of a fake server can have."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError
from tfs_client.server import FunctionSignature
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.servable import Servable
from tfs_client.signatures import TensorSpec
from tfs_client.testing.replay.replays import Replays


class KnownSignature(NamedTuple):
    """A signature that a model has, or has had.

    Attributes:
        version: the version that has it; None for a model that was only recorded.
        checks_shapes: whether it refuses inputs whose shapes contradict it.
    """

    model: str
    version: int | None
    name: str
    inputs: tuple[tuple[str, TensorSpec], ...]
    checks_shapes: bool


class KnownModels:
    """What a fake server serves, has served, and has in recordings. Thread-safe.

    Args:
        manager: the versions that are served.
        replays: the recordings.
    """

    def __init__(self, manager: Manager, replays: Replays) -> None:
        self._manager = manager
        self._replays = replays
        self._lock = threading.Lock()
        self._added: dict[KnownSignature, None] = {}

    def add(self, name: str, version: int, signatures: Mapping[str, FunctionSignature]) -> None:
        """Note the signatures of a version, which stay known after its removal."""
        with self._lock:
            for key, each in signatures.items():
                self._added[KnownSignature(name, version, key, (*each.inputs.items(),), each.check_shapes)] = None

    def names(self) -> set[str]:
        """Return the models."""
        return self._manager.managed_names() | self._replays.names

    def versions(self, model: str | None) -> set[int]:
        """Return the versions of a model, or of all models."""
        return {
            status.version
            for name in self._chosen(model, self._manager.managed_names())
            for status in self._manager.status(ModelSpec(name))
        }

    def signatures(self, model: str | None, version: int | None) -> list[KnownSignature] | None:
        """Return the signatures of a model and version, None for all of them; None if some are not known."""
        with self._lock:
            found = [*self._added]
        versions = {each[:2] for each in found}
        for name in self._chosen(model, self._manager.managed_names()):
            for status in self._manager.status(ModelSpec(name)):
                key = (name, status.version)
                try:
                    with self._manager.handle(ModelSpec(*key)) as handle:
                        found += _of_servable(*key, handle.servable)
                except CallError:  # it is not available
                    if key not in versions and version in (None, status.version):
                        return None
        for name in self._chosen(model, self._replays.names):
            for servable in self._replays.servables(name):
                found += _of_servable(name, None, servable)
        return [
            each
            for each in found
            if (model is None or each.model == model) and (version is None or each.version in (None, version))
        ]

    @staticmethod
    def _chosen(model: str | None, names: Iterable[str]) -> list[str]:
        return [name for name in names if model in (None, name)]


def _of_servable(model: str, version: int | None, servable: Servable) -> Iterator[KnownSignature]:
    checked = getattr(servable, "checked_shapes", ())
    for name, signature in servable.signatures.items():
        yield KnownSignature(model, version, name, (*signature.inputs.items(),), name in checked)
