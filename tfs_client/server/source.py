"""Source: looks at the file system and tells which versions of each model are wanted.

Every poll gives, for every model, the complete list of versions and their directories; a version that is left out is
not wanted any more. What a directory's name means, and which versions a policy chooses, are pure functions.
Source: sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfs_client.errors import CallError, NotFoundError, UnimplementedError
from tfs_client.server.file_errors import file_error, status_text
from tfs_client.server.periodic import Periodic
from tfs_client.shown import shown
from tfs_client.version_policy import AllVersions, Latest

log = logging.getLogger("tfs_client.server")

# What strings::safe_strto64 takes: blanks around, a sign, leading zeros.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_URI = re.compile(r"([A-Za-z][0-9A-Za-z.]+)://(.*)", re.DOTALL)
_OF_VERSIONS = frozenset({"saved_model.pb", "saved_model.pbtxt", "servable.py"})  # files that only versions have
_INT64 = range(-(1 << 63), 1 << 63)

Choice = Latest | AllVersions | tuple[int, ...]
"""Which versions to serve; a tuple lists them, and may be empty."""

VersionPath = tuple[int, str]

Emit = Callable[[str, Sequence[VersionPath]], None]
"""Takes a model's name and all of its wanted versions."""


@dataclass(frozen=True)
class Watched:
    """A model to look for: below ``base_path``, a directory or ``file://`` URI, are its versions."""

    name: str
    base_path: str
    versions: Choice = Latest()  # noqa: RUF009  frozen


@dataclass(frozen=True)
class Found:
    """What a listing has of a model: the child directory of every wanted version, and what is odd about it."""

    versions: Mapping[int, str]
    warnings: tuple[str, ...] = ()


def version_of(child: str) -> int | None:
    """The version that a directory's name stands for; None for names that are ignored, like ``v1`` and ``1.0``."""
    number = _NUMBER.fullmatch(child)
    if number is None or len(child) > 4096 or int(number[1]) not in _INT64:
        return None
    return int(number[1])


def find(model: Watched, children: Iterable[str]) -> Found:
    """The wanted versions among the children of the base path."""
    children = [*children]
    names = _names_by_version(children)
    if not names:
        return Found({}, (_none_found(model), *_itself_a_version(model, children)))
    if isinstance(model.versions, Latest):
        return _largest_names(names, sorted(names, reverse=True)[: model.versions.count])
    if isinstance(model.versions, AllVersions):
        return _smallest_names(names)
    return _listed(model, model.versions, names)


def _names_by_version(children: Iterable[str]) -> dict[int, list[str]]:
    """The children that are versions; names of one version in the order of their bytes."""
    names: dict[int, list[str]] = {}
    for child in sorted(children, key=os.fsencode):
        version = version_of(child)
        if version is not None:
            names.setdefault(version, []).append(child)
    return names


def _largest_names(names: Mapping[int, list[str]], versions: Iterable[int]) -> Found:
    """Of several names for a version the largest counts, which has the fewest leading zeros."""
    chosen = {version: names[version][-1] for version in versions}
    warnings = tuple(
        "Duplicate version directories detected. "
        f"Version {version} will be loaded from {name}, {other} will be ignored."
        for version, name in chosen.items()
        for other in names[version][:-1]
    )
    return Found(chosen, warnings)


def _smallest_names(names: Mapping[int, list[str]]) -> Found:
    """Here the model server passes on every name, and its manager keeps the first one it gets of a version."""
    chosen = {version: known[0] for version, known in names.items()}
    warnings = tuple(
        f"Version {version} is loaded from {known[0]}; {', '.join(known[1:])} of the same number: ignored"
        for version, known in names.items()
        if len(known) > 1
    )
    return Found(chosen, warnings)


def _listed(model: Watched, versions: tuple[int, ...], names: Mapping[int, list[str]]) -> Found:
    if not versions:
        return Found({}, (f"No specific versions requested for servable {model.name}.",))
    missing = [version for version in versions if version not in names]
    if not missing and all(str(version) in names[version] for version in versions):
        return Found({version: str(version) for version in versions})  # as if the others had not been looked at
    found = _largest_names(names, [version for version in versions if version in names])
    warnings = tuple(
        f"Version {version} of servable {model.name}, which was requested as a specific version "
        "in the server's config, was not found in the file system"
        for version in missing
    )
    return Found(found.versions, found.warnings + warnings)


def _none_found(model: Watched) -> str:
    return (
        f"No versions of servable {model.name} found under base path {model.base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def _itself_a_version(model: Watched, children: Iterable[str]) -> list[str]:
    """A word to those who gave the directory of a version."""
    return [
        f"Base path {model.base_path} of servable {model.name} has a {child}, so it looks like a version itself; "
        "a base path is the directory in which the numbered versions are"
        for child in children
        if child in _OF_VERSIONS
    ]


def directory_of(base_path: str) -> str:
    """The local directory of a base path. Raises UnimplementedError for the URIs of stores that we cannot read."""
    uri = _URI.fullmatch(base_path)
    if uri is None:
        return base_path
    if uri[1] != "file" or not uri[2].startswith("/"):
        raise UnimplementedError(f"File system scheme '{uri[1]}' not implemented (file: '{base_path}')")
    return uri[2]


def children_of(model: Watched) -> list[str]:
    """The names below a model's base path. Raises CallError."""
    try:
        return os.listdir(directory_of(model.base_path))
    except FileNotFoundError:
        cause: CallError = NotFoundError(f"{model.base_path} not found")
    except UnimplementedError as error:
        cause = error
    except OSError as error:
        raise file_error(error, model.base_path) from None
    except ValueError as error:  # a name that this system's encoding does not have
        raise NotFoundError(
            f"Could not find base path {shown(model.base_path)} for servable {model.name}: {error}"
        ) from None
    text = f"Could not find base path {model.base_path} for servable {model.name} with error {status_text(cause)}"
    raise NotFoundError(text)


def wanted_now(model: Watched) -> list[VersionPath]:
    """The versions that a poll would find just now; none where the base path cannot be read."""
    try:
        return _paths(model, find(model, children_of(model)))
    except CallError:
        return []


class Source:
    """Polls the file system for models.

    Args:
        emit: called for every model at every poll; with no versions for a model that is not to be watched any more.
        poll_seconds: the period (``--file_system_poll_wait_seconds``); 0 polls once when started, less than 0 never.
    """

    def __init__(self, emit: Emit, poll_seconds: float = 1.0) -> None:
        self._emit = emit
        self._lock = threading.Lock()  # what a poll found for the old models must not follow an update; see _tell
        self._models: dict[str, Watched] = {}
        self._polling = Periodic(self.poll, poll_seconds, "tfs-source") if poll_seconds > 0 else None
        self._polls_once = poll_seconds == 0

    @property
    def names(self) -> frozenset[str]:
        """The models that are watched."""
        with self._lock:
            return frozenset(self._models)

    @property
    def polls(self) -> bool:
        """Whether the source will look again."""
        return self._polling is not None

    def start(self) -> None:
        """Begin to poll."""
        if self._polling is not None:
            self._polling.start()
        elif self._polls_once:
            self.poll()

    def update(self, models: Iterable[Watched]) -> None:
        """Watch these models instead, and look at them soon. Versions of those left out are not wanted any more."""
        with self._lock:
            gone = self._models
            self._models = {model.name: model for model in models}
            for name in gone.keys() - self._models.keys():
                self._emit(name, [])
        if self._polling is not None:
            self._polling.soon()

    def poll(self) -> None:
        """Look once. Of a base path that cannot be read nothing is emitted; the other models do not mind."""
        with self._lock:
            models = [*self._models.values()]
        for model in models:
            try:
                found = find(model, children_of(model))  # without the lock: a file system may take for ever
            except CallError as error:
                log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", error.details)
            else:
                self._tell(model, found)

    def _tell(self, model: Watched, found: Found) -> None:
        with self._lock:
            if self._models.get(model.name) != model:
                return
            for warning in found.warnings:
                log.warning("%s", warning)
            self._emit(model.name, _paths(model, found))

    def stop(self, timeout: float | None = None) -> None:
        """No more polls, and nothing more of a running one; waits ``timeout`` seconds for its end."""
        with self._lock:
            self._models = {}
        if self._polling is not None:
            self._polling.stop(timeout)


def _paths(model: Watched, found: Found) -> list[VersionPath]:
    directory = directory_of(model.base_path)
    return [(version, os.path.join(directory, child)) for version, child in found.versions.items()]
