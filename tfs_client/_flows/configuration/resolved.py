"""Configuration: the options of a client from its arguments, the environment and a profile, each with its source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, Literal, NamedTuple

from tfs_client._flows.configuration import profiles
from tfs_client._flows.configuration.environment import PROFILE, READERS, VARIABLES, variables
from tfs_client._flows.configuration.keys import KEYS, OF_THE_MODEL, TLS_KEYS, replicas, unknown
from tfs_client._flows.configuration.own_server import CREDENTIALS, difference, rest_difference
from tfs_client._flows.configuration.profiles import Profile
from tfs_client._flows.contradictions import AUTHORIZATION
from tfs_client._printable import listed, printable, shown
from tfs_client.errors import ConfigError
from tfs_client.options import TLS, MetadataPairs, checked_metadata

ARGUMENT = "argument"
VERSIONS = ("version", "label")
_ANY_SERVERS = ("localhost:1", "http://localhost:1")

Check = Callable[[str | Iterable[str], dict[str, Any]], object]  # takes a target and options, and raises ConfigError


class Found(NamedTuple):
    """A value, and where it comes from: "argument", the name of a variable, or a file and its table."""

    value: Any
    source: str


class LookedAt(NamedTuple):
    """A profile that was looked for.

    Attributes:
        profile: its place.
        state: whether it was read, does not exist, cannot be used, or was left out because it is for another server.
        reason: what was left out, and why.
    """

    profile: Profile
    state: Literal["read", "missing", "unusable", "left out"]
    reason: str = ""


class Configuration:
    """The options of a client with their sources.

    Args:
        arguments: the options that the caller passed, by the names of keys. ``tls`` is one option, as the clients have
            it: it replaces the keys ``ca``, ``certificate``, ``key`` and ``authority`` of other sources.
        profile: the profile that the caller named; None for that of TFS_PROFILE, or the default one.
        environment: the variables; None to read neither them nor a profile that the caller has not named.

    A profile that names another server than the one in use does not apply, unless it was chosen by name; then its
    credentials are a problem.

    Attributes:
        found: the value of each key, read and checked, and its source. Metadata is in ``metadata``.
        metadata: each pair with its source.
        looked_at: the profile that was looked for; None if none was.
        problems: a text for each value that cannot be used, and for each contradiction between sources.
    """

    def __init__(
        self,
        arguments: Mapping[str, object],
        profile: str | os.PathLike[str] | None = None,
        *,
        environment: Mapping[str, str] | None = os.environ,
    ) -> None:
        self.found: dict[str, Found] = {key: Found(value, ARGUMENT) for key, value in arguments.items()}
        self.metadata: tuple[tuple[str, str | bytes, str], ...] = ()
        self.looked_at: LookedAt | None = None
        self.problems: list[str] = []
        texts: Mapping[str, object] = {} if environment is None else variables(environment)
        place, keys = self._profile(profile, environment)
        other = self._other_server(arguments, texts, keys)
        if other and self.looked_at is not None and not self.looked_at.profile.required:
            reason = f"{other}; left out: {listed([key for key in keys if key != 'server'])}"
            self.looked_at = self.looked_at._replace(state="left out", reason=printable(reason))
            keys = {}
        self.problems += [printable(f"{place}: {unknown(key, KEYS)}") for key in keys if key not in KEYS]
        if "tls" in arguments:
            texts, keys = ({key: each[key] for key in each if key not in TLS_KEYS} for each in (texts, keys))
        for key in KEYS:
            if key in arguments or key in ("metadata", "token_file"):
                continue
            if key in texts:
                self._read(key, texts[key], VARIABLES[key])
            elif key == "token" and "token_file" in keys:
                self._read_token_file(keys, place)
            elif key in VERSIONS and not arguments.keys().isdisjoint(VERSIONS):
                continue  # an argument replaces both
            elif key in keys and not (key in OF_THE_MODEL and self._is_another_model(keys)):
                self._read(key, keys[key], place)
        self._merge_metadata(keys, place)
        self._replace_authorization()
        self._profile_keys, self._place = keys, place
        if problem := self._misdirected(other):
            self.problems.append(problem)
        self._check_version()
        self._check_tls()

    def check(self) -> None:
        """Raise ConfigError with all problems."""
        if self.problems:
            raise ConfigError("\n".join(self.problems))

    @property
    def target(self) -> str | Iterable[str]:
        """The server, or its replicas. Raises ConfigError without one."""
        if "server" not in self.found:
            raise ConfigError(
                "no server is configured: pass a target such as 'localhost:8500', set TFS_SERVER, or set "
                f"server = 'host:port' in the table [{profiles.DEFAULT}] of {printable(profiles.default_path())}"
            )
        server: str | Iterable[str] = self.found["server"].value
        return server

    def options(self) -> dict[str, Any]:
        """Return the arguments of a client, without the target. Raises ConfigError for TLS files that do not fit."""
        options = {
            key: found.value for key, found in self.found.items() if key not in ("server", "metadata", "tls", *TLS_KEYS)
        }
        if (tls := self._tls()) is not None:
            options["tls"] = tls
        if self.metadata:
            options["metadata"] = tuple((key, value) for key, value, _ in self.metadata)
        return options

    def explained(self, error: ConfigError, check: Check) -> ConfigError:
        """Return the error with the sources of the values that cause it, if some are not arguments.

        These are the values without which the check, which raised the error, does not raise it.
        """
        text = str(error)
        if self._failure(check) != text:  # it is about an option that only arguments set
            return error
        sources = {}
        if "server" in self.found and not all(self._failure(check, server=server) for server in _ANY_SERVERS):
            sources["server"] = self.found["server"].source
        optional = {key: self.found[key].source for key in KEYS if key in self.found and key != "server"}
        optional |= {f"metadata {key!r}": source for key, _, source in self.metadata}
        sources |= {name: source for name, source in optional.items() if self._failure(check, without=name) != text}
        if all(source == ARGUMENT for source in sources.values()):
            return error
        return ConfigError(f"{error} ({', '.join(f'{name}: {source}' for name, source in sources.items())})")

    def _failure(self, check: Check, *, without: str = "", server: str = "") -> str:
        """Return the text of the error that a check raises without a value, or with another server; "" for none."""
        trial = copy(self)
        trial.found = {key: found for key, found in self.found.items() if key in KEYS and key != without}
        trial.metadata = tuple(pair for pair in self.metadata if f"metadata {pair[0]!r}" != without)
        try:
            check(server or trial.target, trial.options())
        except ConfigError as error:
            return str(error)
        return ""

    def _profile(
        self, given: str | os.PathLike[str] | None, environment: Mapping[str, str] | None
    ) -> tuple[str, Mapping[str, object]]:
        """Return the profile's place, and its keys with their values as the file has them."""
        variable = (environment or {}).get(PROFILE, "")
        named = given if given is not None else variable or None
        if named is None and environment is None:
            return "", {}
        by = f" ({PROFILE})" if given is None and variable else ""
        try:
            profile = profiles.default_profile() if named is None else profiles.profile_of(named)
            self.looked_at = LookedAt(profile, "unusable")
            keys = profiles.read(profile)
        except ConfigError as error:
            self.problems += [f"{line}{by}" for line in str(error).splitlines()]
            return "", {}
        self.looked_at = LookedAt(profile, "missing" if keys is None else "read")
        return str(profile), keys or {}

    def _other_server(
        self, arguments: Mapping[str, object], texts: Mapping[str, object], keys: Mapping[str, object]
    ) -> str:
        """Say how the server in use differs from the profile's own; "" if it does not."""
        if self.looked_at is None or ("server" not in arguments and "server" not in texts):
            return ""
        folder = self.looked_at.profile.folder
        if "server" in arguments:
            return difference(arguments["server"], ARGUMENT, keys, folder)
        return difference(replicas(str(texts["server"])), VARIABLES["server"], keys, folder)

    def _read(self, key: str, value: object, source: str) -> None:
        """Read a value. What is wrong with it becomes a problem."""
        is_variable = source == VARIABLES.get(key)
        folder = "" if is_variable or self.looked_at is None else self.looked_at.profile.folder
        try:
            self.found[key] = Found((READERS if is_variable else KEYS)[key](value, folder), source)
        except ConfigError as error:
            self.problems.append(printable(f"{source if is_variable else f'{source}, {key}'}: {error}"))

    def _read_token_file(self, keys: Mapping[str, object], place: str) -> None:
        if "token" in keys:
            self.problems.append(f"{place}: token and token_file contradict each other: write one of them")
            return
        self._read("token_file", keys["token_file"], place)
        if found := self.found.pop("token_file", None):
            self.found["token"] = found

    def _is_another_model(self, keys: Mapping[str, object]) -> bool:
        """Whether the profile's version, label and signature belong to another model than the one that is called."""
        return "model" in keys and "model" in self.found and self.found["model"].value != keys["model"]

    def _merge_metadata(self, keys: Mapping[str, object], place: str) -> None:
        """Join the pairs of the argument with those of the profile that have other keys; None stands for no pairs."""
        own: MetadataPairs = ()
        if (given := self.found.pop("metadata", None)) is not None:
            own = checked_metadata(given.value)
            if given.value is None:
                return
        below: MetadataPairs = ()
        if "metadata" in keys:
            self._read("metadata", keys["metadata"], place)
            if (found := self.found.pop("metadata", None)) is not None:
                below = found.value
        taken = {key for key, _ in own}
        self.metadata = (
            *((key, value, place) for key, value in below if key not in taken),
            *((key, value, ARGUMENT) for key, value in own),
        )

    def _replace_authorization(self) -> None:
        """Of a token and an authorization in the metadata of different sources, keep the one that takes precedence."""
        token = self.found.get("token")
        pairs = [source for key, _, source in self.metadata if key == AUTHORIZATION]
        if token is None or token.value is None or pairs in ([], [token.source] * len(pairs)):
            return
        if token.source == ARGUMENT or (token.source == VARIABLES["token"] and ARGUMENT not in pairs):
            self.metadata = tuple(pair for pair in self.metadata if pair[0] != AUTHORIZATION)
        else:
            del self.found["token"]

    def check_rest_server(self, url: str) -> None:
        """Raise ConfigError if credentials of the profile must not go to a REST port beside the server's gRPC port."""
        if self.looked_at is None:
            return
        folder, secure = self.looked_at.profile.folder, self._tls() not in (None, False)
        if problem := self._misdirected(rest_difference(url, self._profile_keys, folder, secure=secure)):
            raise ConfigError(problem)

    def _misdirected(self, other: str) -> str:
        """The problem of a profile's credentials that would go to another server than its own; "" without any.

        Args:
            other: how that server differs.
        """
        own = [key for key in CREDENTIALS if key in self.found and self.found[key].source == self._place]
        own += ["metadata"] if any(source == self._place for _, _, source in self.metadata) else []
        if not other or not own:
            return ""
        instead = " and ".join(dict.fromkeys(CREDENTIALS[key] for key in own))
        return (
            f"{self._place}: its credentials ({', '.join(own)}) are for its own server only; {printable(other)}: put "
            f"them into a profile without server, or pass {instead}"
        )

    def _check_version(self) -> None:
        given = [(name, self.found[name]) for name in VERSIONS if name in self.found]
        both = [(name, found) for name, found in given if found.value is not None]
        if len(both) == 2 and any(found.source != ARGUMENT for _, found in both):
            texts = (f"{name} {shown(found.value)} ({found.source})" for name, found in both)
            self.problems.append(f"expected a version or a label, got both: {', '.join(texts)}")

    def _check_tls(self) -> None:
        """Note what contradicts itself among the TLS settings of several sources."""
        tls = self.found.get("tls")
        others = [key for key in TLS_KEYS if key in self.found]
        if tls is not None and tls.value is False and others:
            sources = ", ".join(f"{key} ({self.found[key].source})" for key in others)
            self.problems.append(f"tls = false ({tls.source}) and {sources} contradict each other: remove one of them")
        one = [key for key in ("certificate", "key") if key in self.found]
        if len(one) == 1 and self.found[one[0]].source != ARGUMENT:
            self.problems.append(f"expected both certificate and key, got {one[0]} only ({self.found[one[0]].source})")

    def _tls(self) -> TLS | bool | None:
        own = {key: self.found[key].value for key in TLS_KEYS if key in self.found}
        if own:
            return TLS(**own)
        found: TLS | bool | None = self.found["tls"].value if "tls" in self.found else None
        return found


def of_client(
    target: str | Iterable[str] | None, profile: str | os.PathLike[str] | None, arguments: Mapping[str, object]
) -> Configuration:
    """Return the configuration of a client of the library. With a target, it reads a named profile only.

    Raises ConfigError.
    """
    if target is not None and not isinstance(target, (str, bytes)) and isinstance(target, Iterable):
        target = list(target)  # it is read twice
    server = {} if target is None else {"server": target}
    found = Configuration({**server, **arguments}, profile, environment=os.environ if target is None else None)
    found.check()
    return found
