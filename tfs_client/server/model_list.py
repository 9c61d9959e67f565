"""The list of models that a configuration holds, as the model server reads it, and what it refuses in which words.

Plain functions, in the order in which ServerCore applies them; all raise CallError.
Source: model_servers/server_core.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfs_client.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from tfs_client.server import proto_files
from tfs_client.server.serving_map import LabelTable
from tfs_client.server.source import Choice, directory_of
from tfs_client.version_policy import AllVersions, Latest

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

_ABSOLUTE = re.compile(r"/|[A-Za-z][0-9A-Za-z.]+://")
_TENSORFLOW = 1  # of the deprecated enum ModelType
_PYTHON = "python"
LONGEST_PATH = 4096  # bytes; no system opens longer ones, and each look at one would be a line in the log


@dataclass(frozen=True)
class ListedModel:
    """One model of a configuration, nothing of it checked."""

    name: str
    base_path: str
    platform: str = "tensorflow"
    versions: Choice = Latest()  # noqa: RUF009  frozen
    labels: Mapping[str, int] | None = None
    model_type: int = 0
    logged: bool = False


Models = tuple[ListedModel, ...]


def read_file(path: str | os.PathLike[str]) -> schema.ModelServerConfig:
    """The message in a model config file. The line where it is no such message goes to the log."""
    from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    return proto_files.message(path, ModelServerConfig)


def read(config: schema.ModelServerConfig) -> Models | None:
    """The models of a message; None when it says nothing, which is not the same as a list without models."""
    choice = config.WhichOneof("config")
    if choice == "custom_model_config":
        raise unsupported()
    return None if choice is None else tuple(map(_read, config.model_config_list.config))


def unsupported() -> InvalidArgumentError:
    """The refusal of what is no list."""
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


def _versions(model: schema.ModelConfig) -> Choice:
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        return tuple(sorted(set(policy.specific.versions)))
    return AllVersions() if choice == "all" else Latest(policy.latest.num_versions or 1)


def check_names_and_paths(models: Models) -> None:
    """Every model with a name, every name once, every base path absolute."""
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
    """The platform, which the deprecated model_type may tell instead."""
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
    """A model that is in both lists has the same platform in both."""
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
    """The label table of these models. A label needs a version that is available.

    With ``allow_unavailable`` it needs one only if the label stands for another version so far.
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
    """Every model is of a platform that the server has."""
    for model in models:
        platform = platform_of(model)
        if platform not in platforms:
            raise InvalidArgumentError(f"Model {model.name} requests unsupported platform {platform}")


def check_readable(models: Iterable[ListedModel]) -> None:
    """Every base path is one that can be read here. The model server takes others, and waits for what never comes."""
    for model in models:
        directory_of(model.base_path)
        if "\0" in model.base_path:
            raise InvalidArgumentError(f"Expected model {model.name} to have a base path without NUL characters")
        if len(model.base_path.encode(errors="replace")) > LONGEST_PATH:
            raise InvalidArgumentError(
                f"Expected model {model.name} to have a base path of at most {LONGEST_PATH} bytes, got one of "
                f"{len(model.base_path)} characters"
            )


def code_paths(models: Iterable[ListedModel]) -> frozenset[str]:
    """The base paths that hold code which the server runs."""
    return frozenset(model.base_path for model in models if platform_of(model) == _PYTHON)


def check_code(models: Iterable[ListedModel], known: Collection[str]) -> None:
    """No code from elsewhere than from these base paths."""
    for model in models:
        if platform_of(model) == _PYTHON and model.base_path not in known:
            raise PermissionDeniedError(
                f"Model {model.name} is of platform python, so the server would run the code in {model.base_path}; a "
                "reload may bring such models only from base paths that the server's own configuration has, unless it "
                "is started with --allow_python_reload, or ServerConfig(allow_python_reload=True)"
            )


def check_not_logged(models: Iterable[ListedModel]) -> None:
    """Nobody asks for a log of requests."""
    if any(model.logged for model in models):
        raise InvalidArgumentError("No request-logger-creator provided.")
