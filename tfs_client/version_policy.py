"""Version policies and labels: which versions of a model a server serves, and what they are called.

Source: tensorflow_serving/sources/storage_path/file_system_storage_path_source.proto.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfs_client.errors import ConfigError
from tfs_client.shown import shown

_UINT32 = (1 << 32) - 1
_INT64 = (1 << 63) - 1


def checked_text(value: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"expected {what}, a text that is not empty, got {shown(value)}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"expected {what} that UTF-8 can hold, got {shown(value)}")
    return value


def checked_number(value: int, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= value <= high:
        raise ConfigError(f"expected {what} from {low} to {high}, got {shown(value)}")
    return int(value)


def checked_version(version: int) -> int:
    # The server reads a directory "-1" as version -1, but mostly -1 is meant as "the latest": nobody gets that from it.
    return checked_number(version, "a version number", 0, _INT64)


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the ``count`` highest versions; the server's default is ``Latest(1)``."""

    count: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", checked_number(self.count, "a number of versions", 1, _UINT32))

    def __str__(self) -> str:
        return f"latest {self.count}"


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Serve every version there is."""

    def __str__(self) -> str:
        return "all versions"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class SpecificVersions:
    """Serve the versions given, ``SpecificVersions(3, 4)``, as far as they exist; missing ones are no error.

    At least one: for none the server unloads the model, which leaving it out of the configuration says better.
    """

    versions: tuple[int, ...]

    def __init__(self, *versions: int) -> None:
        if not versions:
            raise ConfigError("expected at least one version, got none; to unload a model, leave it out")
        object.__setattr__(self, "versions", tuple(sorted({checked_version(version) for version in versions})))

    def __repr__(self) -> str:
        return f"SpecificVersions({', '.join(map(str, self.versions))})"

    def __str__(self) -> str:
        return f"version{'s' if len(self.versions) > 1 else ''} {', '.join(map(str, self.versions))}"


VersionPolicy = Latest | AllVersions | SpecificVersions


class Labels(Mapping[str, int]):
    """Version numbers by label, in the labels' order. It cannot be changed, so it can be hashed."""

    __slots__ = ("_versions",)

    def __init__(self, labels: Mapping[str, int]) -> None:
        if not isinstance(labels, Mapping):
            raise ConfigError(f"expected version numbers by label, got {shown(labels)}")
        checked = {checked_text(label, "a version label"): checked_version(labels[label]) for label in labels}
        self._versions = dict(sorted(checked.items()))

    def __getitem__(self, label: str) -> int:
        return self._versions[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)

    def __hash__(self) -> int:
        return hash(tuple(self._versions.items()))

    def __repr__(self) -> str:
        return repr(self._versions)
