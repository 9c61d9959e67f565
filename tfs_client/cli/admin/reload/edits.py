"""Changes to a configuration: the options --add, --remove and so on of tfs-admin reload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from tfs_client.errors import ConfigError
from tfs_client.model_config import AllVersions, Latest, ModelConfig, ModelServerConfig, SpecificVersions, VersionPolicy


class Edit(NamedTuple):
    """One change: the name of the option, without dashes, and its argument."""

    option: str
    text: str


def edited(config: ModelServerConfig, edits: Iterable[Edit]) -> ModelServerConfig:
    """Apply changes to a configuration, in order. Raises ConfigError, which names the option."""
    for option, text in edits:
        try:
            config = _APPLY[option](config, text)
        except ConfigError as error:
            raise ConfigError(f"--{option} {text}: {error}") from None
    return config


def _add(config: ModelServerConfig, text: str) -> ModelServerConfig:
    name, place = _cut(text, "=", "NAME=PATH, optionally followed by @latest:N, @all or @versions:1,2")
    if name in config.names:
        raise ConfigError(
            f"model {name!r} already exists; --serve changes its versions, and --remove {name} before --add replaces "
            "it with a new model without labels"
        )
    path, at, policy = place.rpartition("@")
    if not at or "/" in policy:  # an @ in a directory name belongs to the path, as in s3://user@bucket/model
        return config.add(ModelConfig(name, place))
    return config.add(ModelConfig(name, path, versions=_policy(policy)))


def _platform(config: ModelServerConfig, text: str) -> ModelServerConfig:
    name, platform = _cut(text, "=", "NAME=PLATFORM, as in scale=python")
    if name not in config.names:
        raise ConfigError(f"unknown model {name!r}; put --add {name}=PATH before --platform")
    return config.add(replace(config[name], platform=platform), replace=True)


def _remove(config: ModelServerConfig, text: str) -> ModelServerConfig:
    return config.remove(text)


def _serve(config: ModelServerConfig, text: str) -> ModelServerConfig:
    name, policy = _cut(text, "@", "NAME@latest:N, NAME@all or NAME@versions:1,2")
    return config.serve(name, _policy(policy))


def _label(config: ModelServerConfig, text: str) -> ModelServerConfig:
    name, rest = _cut(text, ":", "NAME:LABEL=VERSION")
    label, version = _cut(rest, "=", "NAME:LABEL=VERSION")
    return config.label(name, label, _number(version, "a version number"))


def _unlabel(config: ModelServerConfig, text: str) -> ModelServerConfig:
    name, label = _cut(text, ":", "NAME:LABEL")
    return config.unlabel(name, label)


_APPLY: dict[str, Callable[[ModelServerConfig, str], ModelServerConfig]] = {
    "add": _add,
    "platform": _platform,
    "remove": _remove,
    "serve": _serve,
    "label": _label,
    "unlabel": _unlabel,
}


def _cut(text: str, mark: str, form: str) -> tuple[str, str]:
    """Split a text at the first mark. Raises ConfigError unless both parts have content."""
    before, _, after = text.partition(mark)
    if not before or not after:
        raise ConfigError(f"expected {form}")
    return before, after


def _policy(text: str) -> VersionPolicy:
    kind, _, rest = text.partition(":")
    if kind == "latest" and rest:
        return Latest(_number(rest, "a number of versions"))
    if kind == "versions" and rest:
        return SpecificVersions(*(_number(version, "version numbers") for version in rest.split(",")))
    if text == "all":
        return AllVersions()
    raise ConfigError(f"expected latest:N, all or versions:1,2 after the @, got {text!r}")


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"expected {what}, got {text!r}")
    return int(text)
