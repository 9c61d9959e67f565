"""The configuration of a model server: which models it serves, from where, in which versions, under which labels.

It is what a model config file holds and what a reload sends (tensorflow_serving/config/model_server_config.proto).
What the server does with it (model_servers/server_core.cc):

- A reload replaces the whole configuration. Models that it leaves out are unloaded, so start from what is there.
- Labels are checked before anything is loaded: a label can only be given to a version that is AVAILABLE already. So one
  reload brings a version, and a later one labels it; a configuration with labels does not start a server, unless with
  ``--allow_version_labels_for_unavailable_models``.
- The platform of a model that is being served cannot be changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING

from tfs_client.codec.config_text import check_known, checked_logging_config, parse, text_of
from tfs_client.errors import ConfigError
from tfs_client.shown import shown
from tfs_client.version_policy import (
    AllVersions,
    Labels,
    Latest,
    SpecificVersions,
    VersionPolicy,
    checked_text,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

_URI = re.compile(r"[A-Za-z][0-9A-Za-z.]+://")  # io::ParseURI, tensorflow/core/platform/path.cc: no one-letter schemes


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of a server.

    Attributes:
        name: the name that calls ask for.
        base_path: where its versions are, one directory each, named by their numbers, as the server sees it: an
            absolute path, or a URI such as ``s3://bucket/model``.
        platform: what loads it; the stock server has "tensorflow" alone.
        versions: which versions to serve; None says nothing, and the server takes the latest one.
        labels: version numbers by label. The server accepts a label only for a version that is AVAILABLE when the
            configuration is applied, and keeps the label when the version goes.
        logging_config: a serialized LoggingConfig, kept from what was read; None for none. The stock server refuses
            it, after it has switched the models.
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
                "it is the server that opens it, so give the path as the server sees it"
            )
        checked_text(self.platform, 'a platform (the stock server has "tensorflow" alone)')
        if not isinstance(self.versions, VersionPolicy | None):
            raise ConfigError(f"expected Latest, AllVersions, SpecificVersions or None, got {shown(self.versions)}")
        object.__setattr__(self, "labels", Labels(self.labels))
        if self.logging_config is not None:
            object.__setattr__(self, "logging_config", checked_logging_config(self.logging_config))

    def __str__(self) -> str:
        said = [self.base_path, _shown(self.versions)]
        said += [f"platform {self.platform}"] if self.platform != "tensorflow" else []
        said += [f"label {label} {version}" for label, version in self.labels.items()]
        said += ["with a logging_config"] if self.logging_config is not None else []
        return f"{self.name}: {', '.join(said)}"


@dataclass(frozen=True, slots=True, init=False)
class ModelServerConfig:
    """The models of a server, each name once. It does not change: ``add`` and its like return another one.

    ``config["resnet"]`` is the model of that name; iterating gives the models in their order, which means nothing to
    the server. A reload replaces everything a server has by this, and an empty one unloads everything.
    """

    models: tuple[ModelConfig, ...]

    def __init__(self, models: Iterable[ModelConfig] = ()) -> None:
        if not isinstance(models, Iterable):
            raise ConfigError(f"expected ModelConfigs, got {shown(models)}; put a single one into a list")
        models = tuple(models)
        names = set()
        for model in models:
            if not isinstance(model, ModelConfig):
                raise ConfigError(f"expected ModelConfigs, got {shown(model)}")
            if model.name in names:
                raise ConfigError(f"expected every model once, got {shown(model.name)} twice; merge the two into one")
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
        raise KeyError(self._no(name))

    def __contains__(self, model: object) -> bool:
        """Whether there is this model, or one of this name."""
        return model in self.names or model in self.models

    def __iter__(self) -> Iterator[ModelConfig]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def _no(self, name: str) -> str:
        return f"no model {name!r}; there are: {', '.join(self.names) or 'none'}"

    def _model(self, name: str) -> ModelConfig:
        if name not in self.names:
            raise ConfigError(self._no(name))
        return self[name]

    def add(self, model: ModelConfig, *, replace: bool = False) -> ModelServerConfig:
        """With one more model. One of its name must not be there, or with ``replace`` gives it its place."""
        if not isinstance(model, ModelConfig) or model.name not in self.names:
            return ModelServerConfig((*self.models, model))
        if not replace:
            raise ConfigError(f"there is a model {model.name!r} already; replace=True puts the new one in its place")
        return ModelServerConfig(model if known.name == model.name else known for known in self.models)

    def remove(self, name: str) -> ModelServerConfig:
        """Without a model, which the server will then unload."""
        gone = self._model(name)
        return ModelServerConfig(model for model in self.models if model is not gone)

    def label(self, name: str, label: str, version: int) -> ModelServerConfig:
        """With a label, new or moved, on a version of a model. The version must be AVAILABLE when this is applied."""
        model = self._model(name)
        return self.add(replace(model, labels={**model.labels, label: version}), replace=True)

    def unlabel(self, name: str, label: str) -> ModelServerConfig:
        """Without a label, which the server will then not know any more."""
        model = self._model(name)
        if label not in model.labels:
            there = ", ".join(model.labels) or "none"
            raise ConfigError(f"model {name!r} has no label {label!r}; there are: {there}")
        kept = {known: version for known, version in model.labels.items() if known != label}
        return self.add(replace(model, labels=kept), replace=True)

    def serve(self, name: str, versions: VersionPolicy | None) -> ModelServerConfig:
        """With another version policy for a model."""
        return self.add(replace(self._model(name), versions=versions), replace=True)

    def difference(self, base: ModelServerConfig) -> str:
        """What changes from ``base`` to this, a line per change; empty when both say the same, in whichever order."""
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
        """Read a model config file, which holds protobuf text in UTF-8. Raises ConfigError, which names the file."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls.from_text(file.read())
        except OSError as error:
            raise ConfigError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{os.fspath(path)}: expected text in UTF-8: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from None
        except (ValueError, MemoryError) as error:  # a name with a zero byte; a file that is larger than the memory
            raise ConfigError(f"cannot read {os.fspath(path)!r}: {error or 'too large'}") from error

    @classmethod
    def from_text(cls, text: str) -> ModelServerConfig:
        """Read protobuf text, ``model_config_list { config { ... } }``. Comments are not kept.

        Raises ConfigError, with the line where the text is no such message, and for what ``from_proto`` refuses.
        """
        return cls.from_proto(parse(text))

    def to_text(self) -> str:
        """The content of a model config file."""
        return text_of(self.to_proto())

    @classmethod
    def from_proto(cls, proto: Message) -> ModelServerConfig:
        """Read a ModelServerConfig message, ours or that of tensorflow-serving-api.

        Said in our own way: the deprecated ``model_type: TENSORFLOW`` as platform "tensorflow", ``num_versions: 0`` as
        1, an empty version policy as none. Raises ConfigError for what the server would refuse, and for what this class
        would lose: a ``custom_model_config``, and fields of a later schema. A message that says nothing is refused too,
        since to the server it is not the same as an empty ``model_config_list``, which unloads everything.
        """
        from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

        descriptor = getattr(proto, "DESCRIPTOR", None)
        if getattr(descriptor, "full_name", None) != schema.ModelServerConfig.DESCRIPTOR.full_name:
            raise ConfigError(f"expected a ModelServerConfig message, got {type(proto).__name__}")
        own = schema.ModelServerConfig.FromString(proto.SerializeToString())
        check_known(own)
        if own.WhichOneof("config") != "model_config_list":
            got = own.WhichOneof("config") or "nothing; no models at all are written model_config_list {}"
            raise ConfigError(f"expected a model_config_list, got {got}")
        return cls(map(_read, own.model_config_list.config))

    def to_proto(self) -> schema.ModelServerConfig:
        """The message, with a ``model_config_list`` even when that is empty."""
        from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

        proto = schema.ModelServerConfig()
        proto.model_config_list.SetInParent()
        proto.model_config_list.config.extend(map(_write, self.models))
        return proto


def _shown(versions: VersionPolicy | None) -> str:
    return "latest 1 by default" if versions is None else str(versions)


def _changes(old: ModelConfig, new: ModelConfig) -> Iterator[str]:
    if old.base_path != new.base_path:
        yield f"base path {old.base_path} -> {new.base_path}"
    if old.platform != new.platform:
        yield f"platform {old.platform} -> {new.platform}"
    if old.versions != new.versions:
        yield f"{_shown(old.versions)} -> {_shown(new.versions)}"
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
    """The platform, as GetPlatform of server_core.cc finds it."""
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
