"""The keys of a profile, and how their values are read. The variables of the environment share the readers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NoReturn

from tfs_client._flows.configuration.tokens import read_file, token_of
from tfs_client._printable import shown
from tfs_client._transports.targets import GRPC_SCHEMES, checked_target
from tfs_client.errors import ConfigError, StatusCode
from tfs_client.options import (
    TLS,
    Keepalive,
    Limits,
    RetryPolicy,
    checked_channel_options,
    checked_compression,
    checked_metadata,
    checked_timeout,
)

TLS_KEYS = ("ca", "certificate", "key", "authority")
OF_THE_MODEL = ("version", "label", "signature")

Reader = Callable[[object, str], object]  # takes a value, and the folder to which paths are relative


def replicas(text: str) -> str | list[str]:
    """Split a server at commas into replicas; a single target stays a string."""
    if "," not in text or text.lower().startswith((*GRPC_SCHEMES, "http://", "https://")):  # these may contain commas
        return text
    return text.split(",")


def expected(what: str, value: object) -> NoReturn:
    """Raise ConfigError for a value of the wrong type. It shows numbers only: others may hold a secret."""
    raise ConfigError(
        f"expected {what}, got {shown(value) if isinstance(value, (int, float)) else type(value).__name__}"
    )


def unknown(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that does not exist, with the nearest one that does."""
    from difflib import get_close_matches  # slow to import, and only needed for an error

    names = list(known)
    near = get_close_matches(key[:80], names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(names)}"
    return ConfigError(f"unknown key {shown(key)}: {hint}")


def text_of(value: object, what: str) -> str:
    """Return a text that is not empty. Raises ConfigError."""
    if not isinstance(value, str):
        expected(what, value)
    if not value.strip():
        raise ConfigError(f"expected {what}, got an empty text")
    return value


def server(value: object, folder: str) -> str | list[str]:
    """Read one target or several."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        found: str | list[str] = value
    else:
        found = replicas(text_of(value, "a target such as 'host:8500', or a list of them"))
    checked_target(found)
    return found


def seconds(value: object, folder: str) -> float | None:
    """Read a timeout; ``inf`` means no limit."""
    try:
        return checked_timeout(value)  # type: ignore[arg-type]  # it is checked
    except ConfigError:
        raise ConfigError(f"expected seconds above 0, or inf for no limit, got {shown(value)}") from None


def seconds_of(text: str, folder: str) -> float | None:
    """Read a timeout from a variable: a number as TOML has it."""
    try:
        if not text.isascii() or "_" in text:  # float() takes these, too
            raise ValueError
        return seconds(float(text), folder)
    except (ValueError, ConfigError):
        raise ConfigError(f"expected seconds above 0, or inf for no limit, got {shown(text)}") from None


def path(value: object, folder: str) -> str:
    """Read the path of a file, relative to ``folder``."""
    found = os.path.expanduser(text_of(value, "the path of a file"))
    return os.path.join(folder, found) if folder else found


def _ca(value: object, folder: str) -> str:
    found = path(value, folder)
    TLS(ca=found)  # checks it
    return found


def _token(value: object, folder: str) -> str:
    text = text_of(value, "a token, or @FILE")
    return token_of(f"@{path(text[1:], folder)}" if text.startswith("@") else text)


def _text(what: str) -> Reader:
    return lambda value, folder: text_of(value, what)


def _version(value: object, folder: str) -> int | None:
    if not isinstance(value, int):
        expected("a version number", value)
    from tfs_client._flows.asked import model_spec  # imports numpy

    return model_spec("", value, None, None).version


def _flag(value: object, folder: str) -> bool:
    if not isinstance(value, bool):
        expected("true or false", value)
    return value


def _or_false(read: Reader) -> Reader:
    """Read ``false`` as None: no compression, no limit, no proxy."""
    return lambda value, folder: None if value is False else read(value, folder)


def _compression(value: object, folder: str) -> str | None:
    return checked_compression(text_of(value, "compression 'gzip' or 'deflate', or false"))


def _limit(name: str) -> Reader:
    def read(value: object, folder: str) -> object:
        if not isinstance(value, int):
            expected("bytes, 1 or more, or false for no limit", value)
        Limits(**{name: value})  # checks it
        return value

    return read


def _rest_format(value: object, folder: str) -> str:
    from tfs_client._flows.predicting_rest import FORMS

    found = text_of(value, "'auto', 'row' or 'columnar'")
    if found not in FORMS:
        raise ConfigError(f"expected 'auto', 'row' or 'columnar', got {shown(found)}")
    return found


def _table(value: object, known: Iterable[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        expected("true, false or a table", value)
    for key in value:
        if key not in known:
            raise unknown(key, known)
    return value


def _policy(kind: type[RetryPolicy] | type[Keepalive]) -> Reader:
    """Read true for the defaults, false for None, or a table with some of the fields."""
    known = [field.name for field in fields(kind)]

    def read(value: object, folder: str) -> object:
        if isinstance(value, bool):
            return kind() if value else None
        given = dict(_table(value, known))
        if (codes := given.get("codes")) is not None:
            given["codes"] = _codes(codes)
        return kind(**given)

    return read


def _codes(value: object) -> frozenset[StatusCode]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        expected("codes as a list of names such as 'UNAVAILABLE'", value)
    for name in value:
        if name not in StatusCode.__members__:
            raise ConfigError(f"expected the name of a status code such as 'UNAVAILABLE', got {shown(name)}")
    return frozenset(StatusCode[name] for name in value)


def _metadata(value: object, folder: str) -> object:
    if not isinstance(value, dict):
        expected("a table of texts", value)
    for key, one in value.items():
        if not isinstance(one, str):
            raise ConfigError(f"{shown(key)}: expected text, got {type(one).__name__}")
        try:
            checked_metadata({key: one})
        except ConfigError as error:  # it shows the value, which may be a secret
            if not isinstance(key, str) or "metadata key" in str(error):
                raise
            raise ConfigError(str(error).partition(", got ")[0]) from None
    return tuple(value.items())


def _channel_options(value: object, folder: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        expected("a table of numbers and texts", value)
    return checked_channel_options(value)


KEYS: Mapping[str, Reader] = {
    "server": server,
    "model": _text("the name of a model"),
    "version": _version,
    "label": _text("the name of a version label"),
    "signature": _text("the name of a signature"),
    "timeout": seconds,
    "token": _token,
    "token_file": lambda value, folder: read_file(path(value, folder)),
    "tls": _flag,
    "ca": _ca,
    "certificate": path,
    "key": path,
    "authority": _text("the name in the server's certificate"),
    "metadata": _metadata,
    "retry": _policy(RetryPolicy),
    "keepalive": _policy(Keepalive),
    "compression": _or_false(_compression),
    "validate": _flag,
    "cast": _flag,
    "request_id": _flag,
    "rest_format": _rest_format,
    "proxy": _or_false(_text("the URL of a proxy, or false for none")),
    "channel_options": _channel_options,
    "max_reply_bytes": _or_false(_limit("reply")),
    "max_inflated_bytes": _or_false(_limit("inflated")),
}
"""The keys of a profile, each with the function that reads its value and raises ConfigError for a bad one."""
