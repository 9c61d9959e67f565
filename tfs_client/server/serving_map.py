"""ServingMap: the versions that serve, the labels, and which version a request is for.

Order and texts of the resolution: model_servers/server_core.cc (ServableRequestFromModelSpec), core/manager.h.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tfs_client.server.harness import Harness

LabelTable = Mapping[str, Mapping[str, int]]
"""For each model, the version that a label stands for."""


class ServingMap:
    """What requests are resolved with. It has no lock of its own: the manager's guards it."""

    def __init__(self, labels: LabelTable | None) -> None:
        self._versions: dict[str, dict[int, Harness]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._labels_known = False
        if labels:
            self.replace_labels(labels)

    def put(self, harness: Harness) -> None:
        """From now on requests find this version."""
        self._labels_known = True  # whoever brings servables along need not bring labels
        self._versions.setdefault(harness.name, {})[harness.version] = harness

    def withdraw(self, harness: Harness) -> None:
        """From now on they do not; nothing happens if another one has taken its place."""
        versions = self._versions.get(harness.name, {})
        if versions.get(harness.version) is harness:
            del versions[harness.version]
            if not versions:
                del self._versions[harness.name]

    def resolve(self, spec: ModelSpec) -> Harness:
        """The version that a request is for. Raises CallError."""
        if not spec.name:
            raise InvalidArgumentError("ModelSpec has no name specified.")
        wanted = spec.version if spec.label is None else self._labelled(spec.name, spec.label)
        ready = self._versions.get(spec.name, {})
        if wanted is not None:
            if wanted not in ready:
                raise NotFoundError(f"Servable not found for request: Specific({spec.name}, {wanted})")
            return ready[wanted]
        if not ready:
            raise NotFoundError(f"Servable not found for request: Latest({spec.name})")
        return ready[max(ready)]

    def _labelled(self, name: str, label: str) -> int:
        if not self._labels_known:
            raise UnavailableError(f"Model labels does not init yet.{label}")
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise InvalidArgumentError(f"Unrecognized servable version label: {label}")
        return version

    def set_label(self, name: str, label: str, version: int) -> None:
        """Let a label stand for a version."""
        self._labels.setdefault(name, {})[label] = version
        self._labels_known = True

    def replace_labels(self, labels: LabelTable) -> None:
        """All labels of all models at once; what is left out is unknown afterwards."""
        self._labels = {name: dict(known) for name, known in labels.items()}
        self._labels_known = True

    def labels(self) -> LabelTable:
        """A copy of the label table."""
        return {name: dict(known) for name, known in self._labels.items()}
