"""The output of ``tfs-admin config``. Tokens, passwords and the values of metadata are never shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from tfs_client._flows.client_options import DEFAULTS
from tfs_client._flows.configuration.keys import KEYS, TLS_KEYS
from tfs_client._flows.configuration.resolved import Configuration, LookedAt
from tfs_client._transports.targets import checked_target, without_password
from tfs_client.cli.configuration import DEFAULT
from tfs_client.cli.json_output import dumps
from tfs_client.cli.tables import aligned
from tfs_client.options import UNSET, Keepalive, RetryPolicy

HIDDEN = "***"
HEADER = ("OPTION", "VALUE", "SOURCE")
NOTHING = "-"


class Row(NamedTuple):
    """An option.

    Attributes:
        name: its name; "metadata KEY" for a pair.
        value: its value, without secrets, as JSON has it.
        source: where it comes from.
    """

    name: str
    value: object
    source: str


def as_table(found: Configuration) -> str:
    """Return a line for each option, and one about the profile."""
    table = aligned([HEADER, *((row.name, _text(row), row.source) for row in _rows(found))])
    return f"{table}\n\n{profile_line(found.looked_at)}" if found.looked_at is not None else table


def as_json(found: Configuration, problems: Collection[str]) -> str:
    """Return the options, the profile and the problems. With problems, the options are left out."""
    looked_at = found.looked_at
    profile = None
    if looked_at is not None:
        path, table, _ = looked_at.profile
        profile = {
            "path": path,
            "table": table or None,
            "state": looked_at.state,
            "reason": looked_at.reason or None,
        }
    options: dict[str, object] = {}
    if not problems:
        options = {row.name: {"value": row.value, "source": row.source} for row in _rows(found) if row.name in KEYS}
        options["metadata"] = _metadata(found)
    return dumps({"options": options, "profile": profile, "problems": list(problems)})


def profile_line(looked_at: LookedAt) -> str:
    """Say which profile was looked for, and whether it applies."""
    states = {"read": "was read", "missing": "does not exist", "unusable": "cannot be used"}
    state = states.get(looked_at.state) or f"does not apply: {looked_at.reason}"
    return f"profile: {looked_at.profile} {state}"


def _metadata(found: Configuration) -> dict[str, object]:
    """Return each key of the metadata with its value and source; a key that is sent several times has a list."""
    values: dict[str, list[object]] = {}
    for key, _, _ in found.metadata:
        values.setdefault(key, []).append(HIDDEN)
    sources = {key: source for key, _, source in found.metadata}  # an argument replaces all pairs of a key
    return {key: {"value": each[0] if len(each) == 1 else each, "source": sources[key]} for key, each in values.items()}


def _rows(found: Configuration) -> Iterator[Row]:
    defaults: Mapping[str, Any] = {**DEFAULTS, **dict.fromkeys(TLS_KEYS)}
    for name in KEYS:
        if name == "token_file":
            continue
        if name == "metadata":
            for key, _, source in found.metadata:
                yield Row(f"metadata {key}", HIDDEN, source)
            if not found.metadata:
                yield Row(name, None, DEFAULT)
        elif name in found.found:
            value, source = found.found[name]
            yield Row(name, HIDDEN if name == "token" and value is not None else _plain(value), source)
        elif name == "tls" and (required := _tls(found)) is not None:
            yield required
        else:
            yield Row(name, _plain(defaults[name]), DEFAULT)


def _tls(found: Configuration) -> Row | None:
    """Return that TLS is on because of another TLS option or the server's scheme, or None."""
    server = found.found["server"]
    sources = [found.found[key].source for key in TLS_KEYS if key in found.found]
    sources += [server.source] if checked_target(server.value).secure else []
    return Row("tls", True, sources[0]) if sources else None


def _plain(value: object) -> object:
    """Return a value as JSON has it, without passwords."""
    if isinstance(value, str):
        if "://" in value:
            return without_password(value)
        return HIDDEN if "@" in value else value  # a proxy in channel_options may have a password
    if isinstance(value, bytes):
        return HIDDEN
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (RetryPolicy, Keepalive)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, frozenset):
        return sorted(code.name for code in value)
    return None if value is UNSET else value


def _text(row: Row) -> str:
    """Return a value for people."""
    value = row.value
    if row.name == "proxy" and row.source == DEFAULT:
        return "of the environment"
    if value is None and row.name == "timeout":
        return "inf"
    if value is None or value == []:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        if kind := {"retry": RetryPolicy, "keepalive": Keepalive}.get(row.name):
            usual = _plain(kind())
            assert isinstance(usual, dict)
            value = {key: one for key, one in value.items() if one != usual[key]}
            if not value:
                return "true"
        return ", ".join(f"{key}={_text(Row('', one, ''))}" for key, one in value.items()) or NOTHING
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
