"""Checks of a new configuration against the configuration and models of the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tfs_client._transports.deadline import Deadline
from tfs_client.errors import CallError, DeadlineExceededError, DecodeError, NotFoundError, UnavailableError
from tfs_client.model_config import ModelConfig, ModelServerConfig, SpecificVersions

if TYPE_CHECKING:
    from tfs_client.client import PredictClient
    from tfs_client.results import ModelStatus

CHECK_TIMEOUT = 5.0  # seconds; a server that does not answer must not use up the time for the reload

Statuses = Mapping[str, "ModelStatus | None"]
"""The status of each model by name; None if the server does not know the model."""


class Findings(NamedTuple):
    """The results of the checks.

    Attributes:
        current: the server's configuration; None if it does not report one.
        warnings: one text for each problem.
    """

    current: ModelServerConfig | None
    warnings: tuple[str, ...]


def check(client: PredictClient, base: ModelServerConfig, config: ModelServerConfig, deadline: Deadline) -> Findings:
    """Compare a new configuration with the server's, which is assumed to be ``base`` if it is not reported."""
    deadline = deadline.sooner(CHECK_TIMEOUT)
    current = None
    try:
        current = _current(client, deadline)
        before = base if current is None else current
        checked = [model for model in config if model.labels or _kept(model, before)]
        statuses = statuses_of(client, checked, deadline)
    except (CallError, DecodeError) as error:
        reason = f"{error.code.name}: {error.details}" if isinstance(error, CallError) else str(error)
        return Findings(current, (f"the configuration was not compared with what the server serves: {reason}",))
    warnings = [
        text for model in checked if _kept(model, before) for text in _missing_versions(model, statuses[model.name])
    ]
    warnings += [
        f"the server will refuse label {label} of {name}, because version {version} is not AVAILABLE, unless it was "
        "started with --allow_version_labels_for_unavailable_models"
        for name, label, version in refused_labels(checked, statuses)
    ]
    return Findings(current, tuple(warnings))


def statuses_of(client: PredictClient, models: list[ModelConfig], deadline: Deadline) -> Statuses:
    """Return the statuses of models. Raises CallError."""
    found: dict[str, ModelStatus | None] = {}
    for model in models:
        try:
            found[model.name] = client.status(model=model.name, timeout=deadline.remaining())
        except NotFoundError:
            found[model.name] = None
    return found


def refused_labels(models: list[ModelConfig], statuses: Statuses) -> Iterator[tuple[str, str, int]]:
    """Find the labels whose versions are not AVAILABLE; yields model, label and version."""
    for model in models:
        status = statuses[model.name]
        for label, version in model.labels.items():
            if status is None or version not in status.available:
                yield model.name, label, version


def _current(client: PredictClient, deadline: Deadline) -> ModelServerConfig | None:
    try:
        return client.current_config(timeout=deadline.remaining())
    except (UnavailableError, DeadlineExceededError):
        raise
    except (CallError, DecodeError):  # TensorFlow Serving, or a gateway that passes only the calls it knows
        return None


def _kept(model: ModelConfig, before: ModelServerConfig) -> bool:
    """Whether the server's status of a model applies to the versions that the new configuration names."""
    named = isinstance(model.versions, SpecificVersions)
    return named and model.name in before.names and before[model.name].base_path == model.base_path


def _missing_versions(model: ModelConfig, status: ModelStatus | None) -> Iterator[str]:
    """Warn about a model that may be left without a version."""
    assert isinstance(model.versions, SpecificVersions)
    if status is None:  # the server does not know the model
        return
    wanted = [found for found in status.versions if found.version in model.versions.versions]
    if all(found.failed for found in wanted):
        why = f"could not load it: {'; '.join(map(str, wanted))}"
        if not wanted:
            reported = ", ".join(str(found.version) for found in status.versions)
            why = f"has reported only {reported}; is it in {model.base_path}?"
        yield f"{model.name} may be left without a version: expected {model.versions}, but the server {why}"
