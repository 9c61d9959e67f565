"""The list of models in a configuration: read and checked as the model server does, with its error texts.

Plain functions, in the order in which ServerCore calls them; all raise CallError.
Source: model_servers/server_core.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_client.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from tfs_client.model_config import AllVersions, Latest
from tfs_client.server.access.model_roots import is_own
from tfs_client.server.files import proto_files
from tfs_client.server.files.file_uris import local_path
from tfs_client.server.lifecycle.serving_map import LabelTable
from tfs_client.server.lifecycle.source import VersionChoice

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

_ABSOLUTE = re.compile(r"/|[A-Za-z][0-9A-Za-z.]+://")
_TENSORFLOW = 1  # of the deprecated enum ModelType
_PYTHON = "python"
LONGEST_PATH = 4096  # bytes; no system opens longer ones, and every poll of one would log an error


@dataclass(frozen=True)
class ListedModel:
    """One model of a configuration, unchecked."""

    name: str
    base_path: str
    platform: str = "tensorflow"
    versions: VersionChoice = Latest()  # noqa: RUF009  frozen
    labels: Mapping[str, int] | None = None
    model_type: int = 0
    logged: bool = False


Models = tuple[ListedModel, ...]


def read_file(path: str | os.PathLike[str]) -> schema.ModelServerConfig:
    """Read a model config file. The line of a syntax error is logged."""
    from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    return proto_files.message(path, ModelServerConfig)


def read(config: schema.ModelServerConfig) -> Models | None:
    """Return the models of a message; None if it is empty, as opposed to a list without models."""
    choice = config.WhichOneof("config")
    if choice == "custom_model_config":
        raise unsupported()
    return None if choice is None else tuple(map(_read, config.model_config_list.config))


def unsupported() -> InvalidArgumentError:
    """The error for a configuration that is not a list."""
    return InvalidArgumentError(
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )


def _read(proto: schema.ModelConfig) -> ListedModel:
    return ListedModel(
        proto.name,
        proto.base_path,
        proto.model_platform,
        _versions(proto),
        dict(proto.version_labels),
        proto.model_type,
        proto.HasField("logging_config"),
    )


def _versions(model: schema.ModelConfig) -> VersionChoice:
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        return tuple(sorted(set(policy.specific.versions)))
    return AllVersions() if choice == "all" else Latest(policy.latest.num_versions or 1)


def check_names_and_paths(models: Models) -> None:
    """Check that every model has a name, that names are unique, and that base paths are absolute."""
    for model in models:
        if not model.name:
            raise InvalidArgumentError(
                f"Expected every model to have a name; that of base path '{model.base_path}' has none"
            )
    names = set()
    for model in models:
        if model.name in names:
            raise InvalidArgumentError(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models:
        if not _ABSOLUTE.match(model.base_path):
            raise InvalidArgumentError(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )


def platform_of(model: ListedModel) -> str:
    """Return the platform, which the deprecated model_type may specify instead."""
    both = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform"
    if model.model_type and model.platform:
        raise InvalidArgumentError(f"Illegal setting both {both[0]} and {both[1]}, model name is {model.name}")
    if not model.model_type and not model.platform:
        raise InvalidArgumentError(f"Illegal setting neither {both[0]} nor {both[1]}, model name is {model.name}")
    if model.platform:
        return model.platform
    if model.model_type != _TENSORFLOW:
        raise InvalidArgumentError(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    return "tensorflow"


def check_platforms_kept(old: Models, new: Models) -> None:
    """Check that models that are in both lists keep their platform."""
    known = {model.name: model for model in old}
    for model in new:
        if model.name in known:
            before, after = platform_of(known[model.name]), platform_of(model)
            if before != after:
                raise InvalidArgumentError(
                    f"Illegal to change a model's platform. For model {model.name} platform was {before} "
                    f"and new platform requested is {after}"
                )


def checked_labels(
    models: Models, available: Callable[[str, int], bool], known: LabelTable, *, allow_unavailable: bool
) -> LabelTable:
    """Return the label table of these models. A label requires a version that is available.

    With ``allow_unavailable``, this applies only to labels that are moved from another version.
    """
    table = {model.name: dict(model.labels or {}) for model in models}
    for name, labels in table.items():
        for label, version in labels.items():
            unmoved = known.get(name, {}).get(label, version) == version
            if not available(name, version) and not (allow_unavailable and unmoved):
                raise FailedPreconditionError(
                    f"Request to assign label to version {version} of model {name}, "
                    "which is not currently available for inference"
                )
    return table


def check_supported(models: Iterable[ListedModel], platforms: Collection[str]) -> None:
    """Check that the server has the platform of every model."""
    for model in models:
        platform = platform_of(model)
        if platform not in platforms:
            raise InvalidArgumentError(f"Model {model.name} requests unsupported platform {platform}")


def check_readable(models: Iterable[ListedModel]) -> None:
    """Check that every base path can be read here. The model server accepts others, and waits for versions forever."""
    for model in models:
        local_path(model.base_path)
        if "\0" in model.base_path:
            raise InvalidArgumentError(f"Expected model {model.name} to have a base path without NUL characters")
        if len(model.base_path.encode(errors="replace")) > LONGEST_PATH:
            raise InvalidArgumentError(
                f"Expected model {model.name} to have a base path of at most {LONGEST_PATH} bytes, got one of "
                f"{len(model.base_path)} characters"
            )


def code_paths(models: Iterable[ListedModel]) -> frozenset[str]:
    """Return the base paths of models whose code the server runs."""
    return frozenset(model.base_path for model in models if platform_of(model) == _PYTHON)


def check_code(models: Iterable[ListedModel], known: Collection[str]) -> None:
    """Refuse models with code whose base paths are not among the known ones."""
    for model in models:
        if platform_of(model) == _PYTHON and not is_own(local_path(model.base_path), known):
            raise PermissionDeniedError(
                f"Model {model.name} has platform python, so the server would run the code in {model.base_path}. A "
                "reload may load Python models only from base paths in the server's own configuration. To allow "
                "others, start the server with --allow_python_reload or ServerConfig(allow_python_reload=True)"
            )


def check_not_logged(models: Iterable[ListedModel]) -> None:
    """Check that no model has a request log, as in a model server without a request logger."""
    if any(model.logged for model in models):
        raise InvalidArgumentError("No request-logger-creator provided.")
