"""ServingMap: the versions that serve, their labels, and the resolution of requests to versions.

Order and texts of the resolution: model_servers/server_core.cc (ServableRequestFromModelSpec), core/manager.h.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tfs_client.server.lifecycle.loader_harness import LoaderHarness

LabelTable = Mapping[str, Mapping[str, int]]
"""For each model, its labels and the version of each."""


class ServingMap:
    """Resolves requests to versions. The manager's lock guards it."""

    def __init__(self, labels: LabelTable | None) -> None:
        self._versions: dict[str, dict[int, LoaderHarness]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._labels_known = False
        if labels:
            self.replace_labels(labels)

    def put(self, harness: LoaderHarness) -> None:
        """Let requests find this version."""
        self._labels_known = True  # servables may be added without labels
        self._versions.setdefault(harness.name, {})[harness.version] = harness

    def withdraw(self, harness: LoaderHarness) -> None:
        """Hide this version from requests. No-op if another harness has replaced it."""
        versions = self._versions.get(harness.name, {})
        if versions.get(harness.version) is harness:
            del versions[harness.version]
            if not versions:
                del self._versions[harness.name]

    def resolve(self, spec: ModelSpec) -> LoaderHarness:
        """Return the version that a request is for. Raises CallError."""
        if not spec.name:
            raise InvalidArgumentError("ModelSpec has no name specified.")
        version = spec.version if spec.label is None else self._labelled(spec.name, spec.label)
        ready = self._versions.get(spec.name, {})
        if version is not None:
            if version not in ready:
                raise NotFoundError(f"Servable not found for request: Specific({spec.name}, {version})")
            return ready[version]
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
        """Assign a label to a version."""
        self._labels.setdefault(name, {})[label] = version
        self._labels_known = True

    def replace_labels(self, labels: LabelTable) -> None:
        """Replace all labels of all models. Labels that are not in the new table become unknown."""
        self._labels = {name: dict(known) for name, known in labels.items()}
        self._labels_known = True

    def labels(self) -> LabelTable:
        """Return a copy of the label table."""
        return {name: dict(known) for name, known in self._labels.items()}
