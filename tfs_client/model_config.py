"""The configuration of a model server: its models, their base paths, versions and labels.

A model config file holds it, and a reload sends it (tensorflow_serving/config/model_server_config.proto).
The server applies it as follows (model_servers/server_core.cc):

- A reload replaces the whole configuration. Models that it leaves out are unloaded, so start from the current one.
- Labels are checked before anything is loaded: only a version that is already AVAILABLE can get a label. So load a
  version with one reload and label it with a later one; a server does not start from a configuration with labels,
  except with ``--allow_version_labels_for_unavailable_models``.
- The platform of a model cannot be changed while it is served.
"""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING

from tfs_client._codec.config_text import check_known, checked_logging_config, parse, read_file, text_of
from tfs_client._printable import shown
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

_URI = re.compile(r"[A-Za-z][0-9A-Za-z.]+://")  # io::ParseURI, tensorflow/core/platform/path.cc: no one-letter schemes
_UINT32 = (1 << 32) - 1
_INT64 = (1 << 63) - 1


def checked_text(value: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"expected {what} as a non-empty text, got {shown(value)}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"expected {what} that UTF-8 can encode, got {shown(value)}")
    return value


def checked_number(value: int, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= value <= high:
        raise ConfigError(f"expected {what} from {low} to {high}, got {shown(value)}")
    return int(value)


def checked_version(version: int) -> int:
    # The server reads a directory "-1" as version -1, but users mostly mean "the latest", which it would not serve.
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
    """Serve all versions."""

    def __str__(self) -> str:
        return "all versions"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class SpecificVersions:
    """Serve the given versions, ``SpecificVersions(3, 4)``; versions that do not exist are skipped.

    At least one version is required. For none the server would unload the model; to do that, leave the model out of the
    configuration.
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
    """Version numbers by label, sorted by label; immutable and hashable."""

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


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of a server.

    Attributes:
        name: the model's name in calls.
        base_path: the directory of its versions, one subdirectory each, named by its number, as the server sees it:
            an absolute path, or a URI such as ``s3://bucket/model``.
        platform: the platform that loads it; the stock server supports only "tensorflow".
        versions: which versions to serve; None leaves the choice to the server, which serves the latest one.
        labels: version numbers by label. The server accepts a label only for a version that is AVAILABLE when the
            configuration is applied, and keeps the label when the version is unloaded.
        logging_config: a serialized LoggingConfig, preserved from a configuration that was read; None for none. The
            stock server refuses it, after it has already switched the models.
    """

    name: str
    base_path: str
    _: KW_ONLY
    platform: str = "tensorflow"
    versions: VersionPolicy | None = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=lambda: Labels({}))
    logging_config: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checked_text(self.name, "a model name")
        try:
            self._check()
        except ConfigError as error:
            raise ConfigError(f"model {self.name!r}: {error}") from None

    def _check(self) -> None:
        checked_text(self.base_path, "a base path")
        if not self.base_path.startswith("/") and not _URI.match(self.base_path):
            raise ConfigError(
                f"expected an absolute base path, or a URI such as s3://bucket/model, got {shown(self.base_path)}; "
                "the server opens it, so give the path as the server sees it"
            )
        checked_text(self.platform, 'a platform (the stock server supports only "tensorflow")')
        if not isinstance(self.versions, VersionPolicy | None):
            raise ConfigError(f"expected Latest, AllVersions, SpecificVersions or None, got {shown(self.versions)}")
        object.__setattr__(self, "labels", Labels(self.labels))
        if self.logging_config is not None:
            object.__setattr__(self, "logging_config", checked_logging_config(self.logging_config))

    def __str__(self) -> str:
        parts = [self.base_path, _policy_text(self.versions)]
        parts += [f"platform {self.platform}"] if self.platform != "tensorflow" else []
        parts += [f"label {label} {version}" for label, version in self.labels.items()]
        parts += ["with a logging_config"] if self.logging_config is not None else []
        return f"{self.name}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True, init=False)
class ModelServerConfig:
    """The models of a server, each name once. Immutable: ``add``, ``remove`` and the others return a new one.

    ``config["resnet"]`` is the model with that name; iterating gives the models in their order, which has no meaning to
    the server. A reload replaces the server's whole configuration; an empty one unloads all models.
    """

    models: tuple[ModelConfig, ...]

    def __init__(self, models: Iterable[ModelConfig] = ()) -> None:
        if not isinstance(models, Iterable):
            raise ConfigError(f"expected ModelConfigs, got {shown(models)}; put a single one in a list")
        models = tuple(models)
        names = set()
        for model in models:
            if not isinstance(model, ModelConfig):
                raise ConfigError(f"expected ModelConfigs, got {shown(model)}")
            if model.name in names:
                raise ConfigError(f"expected each model name once, got {shown(model.name)} twice; merge the two models")
            names.add(model.name)
        object.__setattr__(self, "models", models)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in order."""
        return tuple(model.name for model in self.models)

    def __getitem__(self, name: str) -> ModelConfig:
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(self._unknown(name))

    def __contains__(self, model: object) -> bool:
        """Return whether it has this model, or one with this name."""
        return model in self.names or model in self.models

    def __iter__(self) -> Iterator[ModelConfig]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def _unknown(self, name: str) -> str:
        return f"unknown model {name!r}; known models: {', '.join(self.names) or 'none'}"

    def _model(self, name: str) -> ModelConfig:
        if name not in self.names:
            raise ConfigError(self._unknown(name))
        return self[name]

    def add(self, model: ModelConfig, *, replace: bool = False) -> ModelServerConfig:
        """Return a configuration with one more model; ``replace`` allows it to replace one with the same name."""
        if not isinstance(model, ModelConfig) or model.name not in self.names:
            return ModelServerConfig((*self.models, model))
        if not replace:
            raise ConfigError(f"model {model.name!r} already exists; pass replace=True to replace it")
        return ModelServerConfig(model if known.name == model.name else known for known in self.models)

    def remove(self, name: str) -> ModelServerConfig:
        """Return a configuration without a model, which the server then unloads."""
        gone = self._model(name)
        return ModelServerConfig(model for model in self.models if model is not gone)

    def label(self, name: str, label: str, version: int) -> ModelServerConfig:
        """Return a configuration with a label set to a version, which must be AVAILABLE when this is applied."""
        model = self._model(name)
        return self.add(replace(model, labels={**model.labels, label: version}), replace=True)

    def unlabel(self, name: str, label: str) -> ModelServerConfig:
        """Return a configuration without a label, which the server then no longer knows."""
        model = self._model(name)
        if label not in model.labels:
            known = ", ".join(model.labels) or "none"
            raise ConfigError(f"model {name!r} has no label {label!r}; known labels: {known}")
        kept = {other: version for other, version in model.labels.items() if other != label}
        return self.add(replace(model, labels=kept), replace=True)

    def serve(self, name: str, versions: VersionPolicy | None) -> ModelServerConfig:
        """Return a configuration with another version policy for a model."""
        return self.add(replace(self._model(name), versions=versions), replace=True)

    def difference(self, base: ModelServerConfig) -> str:
        """List the changes from ``base`` to this one, a line each; empty if both are equal apart from the order."""
        lines = []
        for model in self.models:
            if model.name in base.names:
                lines += [f"~ {model.name}: {change}" for change in _changes(base[model.name], model)]
            else:
                lines.append(f"+ {model}")
        lines += [f"- {name}" for name in base.names if name not in self.names]
        return "\n".join(lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.models)) or "no models"

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ModelServerConfig:
        """Read a model config file, which holds protobuf text. Raises ConfigError, which names the file."""
        data = read_file(path)
        try:
            return cls.from_proto(parse(data))
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def from_text(cls, text: str) -> ModelServerConfig:
        """Read protobuf text, ``model_config_list { config { ... } }``. Comments are not kept.

        Raises ConfigError, with the line of the error in the text, and for what ``from_proto`` refuses.
        """
        return cls.from_proto(parse(text))

    def to_text(self) -> str:
        """Return the content of a model config file."""
        return text_of(self.to_proto())

    @classmethod
    def from_proto(cls, proto: Message) -> ModelServerConfig:
        """Read a ModelServerConfig message, ours or that of tensorflow-serving-api.

        Some values are normalized: the deprecated ``model_type: TENSORFLOW`` to platform "tensorflow",
        ``num_versions: 0`` to 1, an empty version policy to None. Raises ConfigError for what the server would refuse,
        and for what this class would lose: a ``custom_model_config``, and fields of a newer schema. An empty message is
        refused too, because to the server it differs from an empty ``model_config_list``, which unloads all models.
        """
        from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

        descriptor = getattr(proto, "DESCRIPTOR", None)
        if getattr(descriptor, "full_name", None) != schema.ModelServerConfig.DESCRIPTOR.full_name:
            raise ConfigError(f"expected a ModelServerConfig message, got {type(proto).__name__}")
        own = schema.ModelServerConfig.FromString(proto.SerializeToString())
        check_known(own)
        if own.WhichOneof("config") != "model_config_list":
            got = own.WhichOneof("config") or "nothing; to serve no models, write `model_config_list {}`"
            raise ConfigError(f"expected a model_config_list, got {got}")
        return cls(map(_read, own.model_config_list.config))

    def to_proto(self) -> schema.ModelServerConfig:
        """Return the message, with a ``model_config_list`` even if it is empty."""
        from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

        proto = schema.ModelServerConfig()
        proto.model_config_list.SetInParent()
        proto.model_config_list.config.extend(map(_write, self.models))
        return proto


def _policy_text(versions: VersionPolicy | None) -> str:
    return "latest 1 by default" if versions is None else str(versions)


def _changes(old: ModelConfig, new: ModelConfig) -> Iterator[str]:
    if old.base_path != new.base_path:
        yield f"base path {old.base_path} -> {new.base_path}"
    if old.platform != new.platform:
        yield f"platform {old.platform} -> {new.platform}"
    if old.versions != new.versions:
        yield f"{_policy_text(old.versions)} -> {_policy_text(new.versions)}"
    for label in sorted({*old.labels, *new.labels}):
        before, after = old.labels.get(label), new.labels.get(label)
        if before != after:
            yield f"label {label} {'none' if before is None else before} -> {'none' if after is None else after}"
    if old.logging_config != new.logging_config:
        yield "another logging_config"


def _read(proto: schema.ModelConfig) -> ModelConfig:
    logged = proto.HasField("logging_config")
    return ModelConfig(
        proto.name,
        proto.base_path,
        platform=_platform(proto),
        versions=_policy(proto),
        labels=dict(proto.version_labels),
        logging_config=proto.logging_config.SerializeToString() if logged else None,
    )


def _platform(proto: schema.ModelConfig) -> str:
    """The platform, as GetPlatform in server_core.cc determines it."""
    if not proto.model_type:
        return proto.model_platform
    if proto.model_platform:
        raise ConfigError(f"model {proto.name!r}: expected model_platform or the deprecated model_type, got both")
    if proto.model_type != 1:
        raise ConfigError(f"model {proto.name!r}: expected model_type TENSORFLOW, got {proto.model_type}")
    return "tensorflow"


def _policy(proto: schema.ModelConfig) -> VersionPolicy | None:
    policy = proto.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "latest":
        return Latest(policy.latest.num_versions or 1)
    if choice == "specific":
        return SpecificVersions(*policy.specific.versions)
    return AllVersions() if choice == "all" else None


def _write(model: ModelConfig) -> schema.ModelConfig:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

    proto = schema.ModelConfig(name=model.name, base_path=model.base_path, model_platform=model.platform)
    policy = proto.model_version_policy
    if isinstance(model.versions, Latest):
        policy.latest.num_versions = model.versions.count
    elif isinstance(model.versions, SpecificVersions):
        policy.specific.versions.extend(model.versions.versions)
    elif isinstance(model.versions, AllVersions):
        policy.all.SetInParent()
    proto.version_labels.update(model.labels)
    if model.logging_config is not None:
        proto.logging_config.SetInParent()
        proto.logging_config.MergeFromString(model.logging_config)
    return proto
