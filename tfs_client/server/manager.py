"""Manager: the servables there are, the states of their versions, and which of them a request is for.

Resolution follows the model server's order and texts: explicit version, version label, or the highest ready version.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError, InvalidArgumentError, NotFoundError, StatusCode, UnavailableError
from tfs_client.results import State, VersionStatus
from tfs_client.server.servable import Servable

# The legal moves between states; a version that is removed and added again begins anew.
MOVES: Mapping[State, frozenset[State]] = {
    State.START: frozenset({State.LOADING, State.END}),
    State.LOADING: frozenset({State.AVAILABLE, State.END}),
    State.AVAILABLE: frozenset({State.UNLOADING}),
    State.UNLOADING: frozenset({State.END}),
    State.END: frozenset(),
}


@dataclass(frozen=True)
class Handle:
    """A servable that a request has resolved; it stays loaded as long as the handle is held."""

    name: str
    version: int
    servable: Servable


class _Version:
    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.state = State.START
        self.users = 0

    def move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            raise ConfigError(
                f"{self.handle.name} version {self.handle.version}: {self.state.name} cannot become {state.name}"
            )
        self.state = state


class Manager:
    """All versions of all models. Its methods may be called from any thread."""

    def __init__(self, version_labels: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._changed = threading.Condition()
        self._models: dict[str, dict[int, _Version]] = {}
        self._labels = {model: dict(labels) for model, labels in (version_labels or {}).items()}

    def add(self, name: str, version: int, servable: Servable) -> None:
        """Make a version available. One that is being served is replaced; its calls finish with what they have."""
        if not name:
            raise ConfigError("a model needs a name")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 1 << 63:
            raise ConfigError(f"model {name!r}: expected a version number from 0 to 2**63 - 1, got {version!r}")
        handle = Handle(name, version, servable)
        with self._changed:
            known = self._models.get(name, {}).get(version)
            if known is not None and known.state is State.AVAILABLE:
                known.handle = handle  # its users stay counted, so that a removal waits for them too
                return
            entry = _Version(handle)
            entry.move(State.LOADING)
            entry.move(State.AVAILABLE)
            self._models.setdefault(name, {})[version] = entry

    def remove(self, name: str, version: int) -> None:
        """Stop serving a version: new requests no longer find it; returns when those that have it are done."""
        with self._changed:
            entry = self._models.get(name, {}).get(version)
            if entry is None or entry.state is not State.AVAILABLE:
                raise ConfigError(f"model {name!r} has no version {version} that is being served")
            entry.move(State.UNLOADING)
            self._changed.wait_for(lambda: entry.users == 0)
            entry.move(State.END)

    def set_label(self, name: str, label: str, version: int) -> None:
        """Let a label stand for a version of a model."""
        with self._changed:
            self._labels.setdefault(name, {})[label] = version

    @contextmanager
    def handle(self, spec: ModelSpec) -> Iterator[Handle]:
        """The servable that a request is for, held until the request is done. Raises CallError with Serving's text."""
        with self._changed:
            entry = self._resolve(spec)
            entry.users += 1
            handle = entry.handle
        try:
            yield handle
        finally:
            with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    def _resolve(self, spec: ModelSpec) -> _Version:
        if not spec.name:
            raise InvalidArgumentError("ModelSpec has no name specified.")
        wanted = spec.version
        if spec.label is not None:
            wanted = self._labelled(spec.name, spec.label)
        versions = self._models.get(spec.name, {})
        ready = [number for number, entry in versions.items() if entry.state is State.AVAILABLE]
        if wanted is not None:
            if wanted not in ready:
                raise NotFoundError(f"Servable not found for request: Specific({spec.name}, {wanted})")
            return versions[wanted]
        if not ready:
            raise NotFoundError(f"Servable not found for request: Latest({spec.name})")
        return versions[max(ready)]

    def _labelled(self, name: str, label: str) -> int:
        if not self._models and not self._labels:
            raise UnavailableError(f"Model labels does not init yet.{label}")
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise InvalidArgumentError(f"Unrecognized servable version label: {label}")
        return version

    def status(self, spec: ModelSpec) -> tuple[VersionStatus, ...]:
        """The states of a model's versions, highest first; labels count for nothing here. Raises NotFoundError."""
        with self._changed:
            versions = self._models.get(spec.name, {})
            if spec.version is not None:
                if spec.version not in versions:
                    raise NotFoundError(f"Could not find version {spec.version} of model {spec.name}")
                versions = {spec.version: versions[spec.version]}
            if not versions:
                raise NotFoundError(f"Could not find any versions of model {spec.name}")
            return tuple(
                VersionStatus(number, versions[number].state, StatusCode.OK, "")
                for number in sorted(versions, reverse=True)
            )
