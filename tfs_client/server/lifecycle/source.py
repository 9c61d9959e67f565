"""Source: polls the file system and reports the aspired versions of each model.

Every poll reports, for every model, the complete list of versions and their directories; a version that is not listed
is no longer aspired. Pure functions interpret directory names and apply the version policy.
Source: sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfs_client._printable import shown
from tfs_client.errors import CallError, NotFoundError, UnimplementedError
from tfs_client.model_config import AllVersions, Latest
from tfs_client.server.files.file_errors import file_error, status_text
from tfs_client.server.files.file_uris import local_path
from tfs_client.server.lifecycle.periodic import PeriodicFunction

log: logging.Logger = logging.getLogger("tfs_client.server")

# What strings::safe_strto64 accepts: surrounding blanks, a sign, leading zeros.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_OF_VERSIONS = frozenset({"saved_model.pb", "saved_model.pbtxt", "servable.py"})  # files that mark a version directory
_INT64 = range(-(1 << 63), 1 << 63)

VersionChoice = Latest | AllVersions | tuple[int, ...]
"""Which versions to serve. A tuple lists them, and may be empty."""

VersionPath = tuple[int, str]

AspiredVersionsCallback = Callable[[str, Sequence[VersionPath]], None]
"""Takes the name of a model and all its aspired versions."""


@dataclass(frozen=True)
class MonitoredModel:
    """A model to poll. Its versions are below ``base_path``, a directory or a ``file://`` URI."""

    name: str
    base_path: str
    versions: VersionChoice = Latest()  # noqa: RUF009  frozen


@dataclass(frozen=True)
class FoundVersions:
    """The aspired versions in a listing, each with its child directory, and warnings about the listing."""

    versions: Mapping[int, str]
    warnings: tuple[str, ...] = ()


def version_of(child: str) -> int | None:
    """Return the version that a directory's name denotes; None for names that are ignored, like ``v1`` and ``1.0``."""
    number = _NUMBER.fullmatch(child)
    if number is None or len(child) > 4096 or int(number[1]) not in _INT64:
        return None
    return int(number[1])


def find(model: MonitoredModel, children: Iterable[str]) -> FoundVersions:
    """Return the aspired versions among the children of the base path."""
    children = [*children]
    names = _names_by_version(children)
    if not names:
        return FoundVersions({}, (_none_found(model), *_itself_a_version(model, children)))
    if isinstance(model.versions, Latest):
        return _largest_names(names, sorted(names, reverse=True)[: model.versions.count])
    if isinstance(model.versions, AllVersions):
        return _smallest_names(names)
    return _listed(model, model.versions, names)


def _names_by_version(children: Iterable[str]) -> dict[int, list[str]]:
    """Group the children that are versions by version. The names of one version are in the order of their bytes."""
    names: dict[int, list[str]] = {}
    for child in sorted(children, key=os.fsencode):
        version = version_of(child)
        if version is not None:
            names.setdefault(version, []).append(child)
    return names


def _largest_names(names: Mapping[int, list[str]], versions: Iterable[int]) -> FoundVersions:
    """Choose the largest of several names for a version, which has the fewest leading zeros."""
    chosen = {version: names[version][-1] for version in versions}
    warnings = tuple(
        "Duplicate version directories detected. "
        f"Version {version} will be loaded from {name}, {other} will be ignored."
        for version, name in chosen.items()
        for other in names[version][:-1]
    )
    return FoundVersions(chosen, warnings)


def _smallest_names(names: Mapping[int, list[str]]) -> FoundVersions:
    """Choose the smallest of several names for a version.

    The model server reports every name here, and its manager keeps the first one that it gets of each version.
    """
    chosen = {version: known[0] for version, known in names.items()}
    warnings = tuple(
        f"Version {version} is loaded from {known[0]}; {', '.join(known[1:])} of the same number: ignored"
        for version, known in names.items()
        if len(known) > 1
    )
    return FoundVersions(chosen, warnings)


def _listed(model: MonitoredModel, versions: tuple[int, ...], names: Mapping[int, list[str]]) -> FoundVersions:
    if not versions:
        return FoundVersions({}, (f"No specific versions requested for servable {model.name}.",))
    missing = [version for version in versions if version not in names]
    if not missing and all(str(version) in names[version] for version in versions):
        return FoundVersions(
            {version: str(version) for version in versions}
        )  # without duplicates, as in the model server
    found = _largest_names(names, [version for version in versions if version in names])
    warnings = tuple(
        f"Version {version} of servable {model.name}, which was requested as a specific version "
        "in the server's config, was not found in the file system"
        for version in missing
    )
    return FoundVersions(found.versions, found.warnings + warnings)


def _none_found(model: MonitoredModel) -> str:
    return (
        f"No versions of servable {model.name} found under base path {model.base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def _itself_a_version(model: MonitoredModel, children: Iterable[str]) -> list[str]:
    """Warn if the base path is itself a version directory."""
    return [
        f"Base path {model.base_path} of servable {model.name} contains {child}, so it looks like a version. Expected "
        "the directory that contains the numbered versions"
        for child in children
        if child in _OF_VERSIONS
    ]


def children_of(model: MonitoredModel) -> list[str]:
    """List the names below a model's base path. Raises CallError."""
    try:
        return os.listdir(local_path(model.base_path))
    except FileNotFoundError:
        cause: CallError = NotFoundError(f"{model.base_path} not found")
    except UnimplementedError as error:
        cause = error
    except OSError as error:
        raise file_error(error, model.base_path) from None
    except ValueError as error:  # a name that the encoding of this system cannot represent
        raise NotFoundError(
            f"Could not find base path {shown(model.base_path)} for servable {model.name}: {error}"
        ) from None
    text = f"Could not find base path {model.base_path} for servable {model.name} with error {status_text(cause)}"
    raise NotFoundError(text)


def versions_now(model: MonitoredModel) -> list[VersionPath]:
    """Return the versions that a poll would find now; none if the base path cannot be read."""
    try:
        return _paths(model, find(model, children_of(model)))
    except CallError:
        return []


class Source:
    """Polls the file system for the versions of models.

    Args:
        emit: called for every model at every poll; called without versions for a model that is removed.
        poll_seconds: the period (``--file_system_poll_wait_seconds``); 0: poll once, at the start; below 0: never.
    """

    def __init__(self, emit: AspiredVersionsCallback, poll_seconds: float = 1.0) -> None:
        self._emit = emit
        self._lock = threading.Lock()  # so that results for old models cannot follow an update; see _report
        self._models: dict[str, MonitoredModel] = {}
        self._polling = PeriodicFunction(self.poll, poll_seconds, "tfs-source") if poll_seconds > 0 else None
        self._polls_once = poll_seconds == 0

    @property
    def names(self) -> frozenset[str]:
        """The models that are polled."""
        with self._lock:
            return frozenset(self._models)

    @property
    def polls(self) -> bool:
        """Whether the source polls repeatedly."""
        return self._polling is not None

    def start(self) -> None:
        """Start to poll."""
        if self._polling is not None:
            self._polling.start()
        elif self._polls_once:
            self.poll()

    def update(self, models: Iterable[MonitoredModel]) -> None:
        """Replace the models, and poll soon. Models that are no longer included have no aspired versions."""
        with self._lock:
            gone = self._models
            self._models = {model.name: model for model in models}
            for name in gone.keys() - self._models.keys():
                self._emit(name, [])
        if self._polling is not None:
            self._polling.run_soon()

    def poll(self) -> None:
        """Poll once. A base path that cannot be read is logged and reports nothing; other models are not affected."""
        with self._lock:
            models = [*self._models.values()]
        for model in models:
            try:
                found = find(model, children_of(model))  # without the lock: a file system may block forever
            except CallError as error:
                log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", error.details)
            else:
                self._report(model, found)

    def _report(self, model: MonitoredModel, found: FoundVersions) -> None:
        with self._lock:
            if self._models.get(model.name) != model:
                return
            for warning in found.warnings:
                log.warning("%s", warning)
            self._emit(model.name, _paths(model, found))

    def stop(self, timeout: float | None = None) -> None:
        """Stop polling and reporting, and wait up to ``timeout`` seconds for a running poll to end."""
        with self._lock:
            self._models = {}
        if self._polling is not None:
            self._polling.stop(timeout)


def _paths(model: MonitoredModel, found: FoundVersions) -> list[VersionPath]:
    directory = local_path(model.base_path)
    return [(version, os.path.join(directory, child)) for version, child in found.versions.items()]
