"""Profiles: tables of a TOML file that hold the options of a client."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from tfs_client._codec import regular_files
from tfs_client._flows.configuration.keys import KEYS
from tfs_client._flows.stack_levels import level_of_the_user
from tfs_client._printable import bounded, listed, printable, shown
from tfs_client.errors import ConfigError, InvalidArgumentError

DEFAULT = "default"  # the table that applies without a name
LARGEST = 1 << 20  # bytes of a file
_SUFFIX = ".toml"
_READABLE = 0o044  # by the group, and by others

_warned: set[str] = set()  # the files about which a warning was given


class Profile(NamedTuple):
    """The place of a profile, before it is read.

    Attributes:
        path: the file.
        table: the name of its table; "" for the keys at its top level.
        required: whether it must exist.
    """

    path: str
    table: str
    required: bool

    def __str__(self) -> str:
        return printable(f"{self.path} [{self.table}]" if self.table else self.path)

    @property
    def folder(self) -> str:
        """The folder to which paths in the profile are relative; it stays the same if the process changes its own."""
        return os.path.dirname(os.path.abspath(self.path))

    @property
    def name(self) -> str:
        """The profile as ``--profile`` takes it."""
        if self.path == default_path():
            return self.table
        return f"{self.path}#{self.table}" if self.table else self.path


def default_path(environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of the file with the named profiles, which need not exist."""
    if sys.platform == "win32":
        folder = environment.get("APPDATA") or os.path.expanduser("~")
    else:
        folder = environment.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(folder):  # the specification of XDG ignores such a value
            folder = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(folder, "tfs_client", "profiles.toml")


def profile_of(text: str | os.PathLike[str]) -> Profile:
    """Read NAME, PATH.toml or PATH.toml#NAME. Raises ConfigError."""
    is_path = not isinstance(text, str)
    try:
        name: str | bytes = os.fspath(text)
    except TypeError:
        name = b""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"expected a profile as NAME, PATH.toml or PATH.toml#NAME, got {shown(text)}")
    if is_path or name.endswith(_SUFFIX):
        return Profile(name, "", required=True)
    path, separator, table = name.rpartition(f"{_SUFFIX}#")
    if separator and table:
        return Profile(path + _SUFFIX, table, required=True)
    if separator or "/" in name or os.sep in name:
        raise ConfigError(f"expected a profile as NAME, PATH.toml or PATH.toml#NAME, got {shown(name)}")
    return Profile(default_path(), name, required=True)


def default_profile() -> Profile:
    """The profile that applies without a name, if its file and its table exist."""
    return Profile(default_path(), DEFAULT, required=False)


def read(profile: Profile) -> Mapping[str, object] | None:
    """Return the keys and values of a profile, unchecked; None for one that does not exist, and need not.

    Raises ConfigError, which names the file.
    """
    try:
        data = regular_files.read(profile.path, LARGEST)
    except FileNotFoundError:
        if not profile.required:
            return None
        if profile.path == default_path():
            raise ConfigError(
                f"profile {shown(profile.table)}: expected a table of {printable(profile.path)}, which does not exist"
            ) from None
        raise ConfigError(f"{printable(profile.path)}: the file with the profile does not exist") from None
    except InvalidArgumentError as error:
        raise ConfigError(error.details) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{printable(profile.path)}: cannot read the file: {why}") from None
    tables = _parsed(data, profile.path)
    found = _top_level(tables, profile) if not profile.table else _table(tables, profile)
    if found is None:
        return None
    if secrets := _secrets(found):
        _warn_if_readable(profile.path, secrets)
    return found


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        toml = import_module(name)
    except ImportError:
        raise ConfigError(
            f"{printable(path)}: profiles on Python 3.10 need tomli: pip install 'tfs-client[profiles]'"
        ) from None
    try:
        tables: dict[str, Any] = toml.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # from None: the original error may hold the text, and a token in it
        why = "nested too deeply" if isinstance(error, RecursionError) else bounded(str(error), 200)
        raise ConfigError(f"{printable(path)}: invalid TOML: {why}") from None
    return tables


def _table(tables: Mapping[str, object], profile: Profile) -> Mapping[str, object] | None:
    stray = next((key for key, value in tables.items() if not isinstance(value, dict)), None)
    if stray is not None and profile.path == default_path():
        raise ConfigError(
            f"{printable(profile.path)}: expected tables such as [{DEFAULT}], got the key {shown(stray)} before the "
            "first one"
        )
    found = tables.get(profile.table)
    if found is None and not profile.required:
        return None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{printable(profile.path)}: no table [{printable(profile.table)}]; the file has "
            f"{_listed(_profiles_of(tables, profile.path)) or 'no profiles in tables'}"
        )
    return found


def _profiles_of(tables: Mapping[str, object], path: str) -> list[str]:
    """Return the names of the tables that may be profiles: not those of the keys at the top level, such as retry."""
    named_only = path == default_path()
    return [name for name, value in tables.items() if isinstance(value, dict) and (named_only or name not in KEYS)]


def _top_level(tables: Mapping[str, object], profile: Profile) -> Mapping[str, object]:
    """Return the keys at the top level. Other tables are profiles with a name if they have keys of one, or none."""
    others = {key: value for key, value in tables.items() if key not in KEYS and isinstance(value, dict)}
    named = [key for key, value in others.items() if not value or set(value) & {*KEYS}]
    found = {key: value for key, value in tables.items() if key not in named}
    if not found and named:
        raise ConfigError(
            f"{profile}: expected keys such as server before the first table, got only the tables {_listed(named)}; "
            "PATH.toml#NAME selects one of them"
        )
    return found


def _listed(tables: Iterable[str]) -> str:
    names = [f"[{printable(name)}]" for name in tables]
    return listed(names) if names else ""


def _secrets(found: Mapping[str, object]) -> list[str]:
    """Return the keys of a profile whose values are secret."""
    token, metadata = found.get("token"), found.get("metadata")
    secrets = ["token"] if isinstance(token, str) and not token.startswith("@") else []
    secrets += [key for key in ("server", "proxy") if "@" in str(found.get(key, ""))]  # a password in a URL
    if isinstance(metadata, dict):
        from tfs_client.recordings.secrets import is_secret  # few profiles have metadata

        secrets += [f"metadata {shown(key)}" for key in metadata if is_secret(key)]
    return secrets


def _warn_if_readable(path: str, secrets: Collection[str]) -> None:
    """Warn, once for each file, if other users can read the secrets in it."""
    if os.name != "posix" or path in _warned:
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if mode & _READABLE:
        import shlex
        import warnings

        _warned.add(path)
        instead = ", or replace token by token_file" if "token" in secrets and len(secrets) == 1 else ""
        warnings.warn(
            f"other users can read secrets in {printable(path)} ({listed(secrets)}): run chmod 600 "
            f"{printable(shlex.quote(path))}{instead}",
            stacklevel=level_of_the_user(),
        )
