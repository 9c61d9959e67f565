"""Defaults: what a client was told for all its calls, and how a single call departs from it."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError
from tfs_client.options import UNSET, Metadata, MetadataPairs, Unset, checked_metadata, checked_timeout


@dataclass(frozen=True)
class Defaults:
    """What holds for calls that say nothing else.

    Attributes:
        spec: model, version or label, and signature; an empty name when every call must name its model.
        timeout: seconds a call may take in all; None means no limit.
        metadata: pairs sent with every call.
    """

    spec: ModelSpec
    timeout: float | None
    metadata: MetadataPairs

    @classmethod
    def of(
        cls,
        model: str | None,
        version: int | None,
        label: str | None,
        signature: str | None,
        timeout: float | None,
        metadata: Metadata | None,
    ) -> Defaults:
        """Defaults as a user gives them. Raises ConfigError for what makes no sense."""
        spec = model_spec(model or "", version, label, signature)
        return cls(spec, checked_timeout(timeout), checked_metadata(metadata))

    def resolve(
        self,
        model: str | Unset,
        version: int | Unset | None,
        label: str | Unset | None,
        signature: str | Unset | None,
    ) -> ModelSpec:
        """Which model, version and signature a call is for. Version, label and signature belong to their model."""
        base = self.spec
        if not (model is version is label is signature is UNSET):
            if model is not UNSET and model != base.name:
                base = ModelSpec(model)
            if version is not UNSET or label is not UNSET:  # one of them replaces both
                base = replace(base, version=None, label=None)
            base = model_spec(
                base.name,
                base.version if version is UNSET else version,
                base.label if label is UNSET else label,
                base.signature if signature is UNSET else signature,
            )
        if not base.name:
            raise ConfigError("which model? Give model= to the call, or to the client for all its calls")
        return base

    def limit(self, timeout: float | Unset | None) -> float | None:
        """Seconds the call may take in all."""
        return self.timeout if timeout is UNSET else checked_timeout(timeout)

    def pairs(self, metadata: Metadata | Unset | None) -> MetadataPairs:
        """The call's metadata besides the client's; of one name the call's count."""
        if metadata is UNSET or not metadata:
            return self.metadata
        own = checked_metadata(metadata)
        names = {key for key, _ in own}
        return (*((key, value) for key, value in self.metadata if key not in names), *own)


def model_spec(model: str, version: int | None, label: str | None, signature: str | None) -> ModelSpec:
    """A ModelSpec of what a user gave. Raises ConfigError."""
    if not isinstance(model, str):
        raise ConfigError(f"expected a model's name, got {model!r}")
    if version is not None and label is not None:
        raise ConfigError(f"expected a version or a label, got both: version {version!r}, label {label!r}")
    if version is not None:
        version = _version_number(version)
    for name, value in (("label", label), ("signature", signature)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"expected {name} to be text, got {value!r}")
    return ModelSpec(model, version, label, signature or "")


def _version_number(version: Any) -> int:
    try:
        number = operator.index(version)  # numpy's integers too
    except TypeError:
        number = -1
    if isinstance(version, bool) or not 0 <= number < 1 << 63:
        raise ConfigError(f"expected a version number, got {version!r}")
    return number


def described(spec: ModelSpec) -> str:
    """A model and its version, for error texts."""
    which = f" version {spec.version}" if spec.version is not None else f" label {spec.label!r}" if spec.label else ""
    return f"model {spec.name!r}{which}"


def aliases(outputs: Iterable[str]) -> tuple[str, ...]:
    """The names of the wanted outputs. Raises ConfigError."""
    if outputs == ():
        return ()
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not all(isinstance(alias, str) for alias in names):
        raise ConfigError(f"expected outputs to be names of outputs, got {names!r}")
    return names
