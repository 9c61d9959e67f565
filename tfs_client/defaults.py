"""Defaults: what a client was told for all its calls, and how a single call departs from it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypedDict

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError
from tfs_client.options import (
    UNSET,
    Deadline,
    Metadata,
    MetadataPairs,
    Unset,
    checked_compression,
    checked_metadata,
    checked_timeout,
)
from tfs_client.shown import shown

REQUEST_ID = "x-request-id"
AUTHORIZATION = "authorization"


class CallOptions(TypedDict, total=False):
    """What a call of predict may be told by name; see ``PredictClient.predict``."""

    model: str
    version: int | None
    label: str | None
    signature: str | None
    outputs: Iterable[str]
    timeout: float | None
    metadata: Metadata | None
    compression: str | None
    validate: bool
    cast: bool


class Asked(NamedTuple):
    """What one call is to do, client's defaults and its own wishes taken together.

    Attributes:
        spec: which model, version and signature.
        deadline: by when, all steps together.
        metadata: pairs that go along.
        compression: of requests; UNSET for the client's.
        validate: whether inputs are checked against the signature before they are sent.
        request_id: the id that goes along; "" for none.
        cast: whether arrays are cast to the signature's dtypes where every value survives.
        paced: the call belongs to a batch, which slows down and sends again on its own when the server is busy.
    """

    spec: ModelSpec
    deadline: Deadline
    metadata: MetadataPairs
    compression: str | Unset | None = UNSET
    validate: bool = False
    request_id: str = ""
    cast: bool = False
    paced: bool = False

    def unlabelled(self) -> Asked:
        """The same of all versions, for calls that know no labels and no signatures."""
        return self._replace(spec=replace(self.spec, label=None, signature=""))


@dataclass(frozen=True)
class Defaults:
    """What holds for calls that say nothing else.

    Attributes:
        spec: model, version or label, and signature; an empty name when every call must name its model.
        timeout: seconds a call may take in all; None means no limit.
        metadata: pairs sent with every call.
        validate: whether inputs are checked against the signature before they are sent.
        request_id: True for a new id with every call, or a function that gives one.
        cast: whether arrays are cast to the signature's dtypes where every value survives.
        settled: keys of metadata that no call may give, for other settings settle them, and why.
    """

    spec: ModelSpec
    timeout: float | None
    metadata: MetadataPairs
    validate: bool = False
    request_id: bool | Callable[[], str] = False
    cast: bool = False
    settled: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str | None,
        version: int | None,
        label: str | None,
        signature: str | None,
        timeout: float | None,
        metadata: Metadata | None,
        validate: bool = False,
        request_id: bool | Callable[[], str] = False,
        cast: bool = False,
    ) -> Defaults:
        """Defaults as a user gives them. Raises ConfigError for what makes no sense."""
        spec = model_spec(model or "", version, label, signature)
        _check_bool("validate", validate)
        _check_bool("cast", cast)
        if not isinstance(request_id, bool) and not callable(request_id):
            raise ConfigError(f"expected request_id=True or a function that gives an id, got {shown(request_id)}")
        return cls(spec, checked_timeout(timeout), checked_metadata(metadata), validate, request_id, cast)

    def asked(
        self,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        validate: bool | Unset = UNSET,
        cast: bool | Unset = UNSET,
    ) -> Asked:
        """What a call is to do. Raises ConfigError."""
        spec = self.resolve(model, version, label, signature)
        deadline = Deadline(self.timeout if timeout is UNSET else checked_timeout(timeout))
        pairs, request_id = self.pairs(metadata), ""
        if self.request_id:
            request_id = next((str(value) for key, value in pairs if key == REQUEST_ID), "")
            if not request_id:
                request_id = _new_id() if self.request_id is True else self.request_id()
                pairs += checked_metadata({REQUEST_ID: request_id})
        if compression is not UNSET:
            checked_compression(compression)
        if validate is UNSET:
            validate = self.validate
        else:
            _check_bool("validate", validate)
        if cast is UNSET:
            cast = self.cast
        else:
            _check_bool("cast", cast)
        return Asked(spec, deadline, pairs, compression, validate, request_id, cast)

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options for many calls: those that are there make sense. Raises ConfigError, TypeError for unknown ones."""
        for name in options:
            if name not in CallOptions.__annotations__:
                raise TypeError(f"unexpected option {name!r}; there are: {', '.join(CallOptions.__annotations__)}")
        found = dict(options)
        found["outputs"] = aliases(options.get("outputs", ()))
        if found.get("metadata"):
            found["metadata"] = checked_metadata(found["metadata"])  # a copy
        replace(self, request_id=False).asked(**{name: found[name] for name in found if name != "outputs"})
        return found

    def of_server(self, timeout: float | Unset | None = UNSET, metadata: Metadata | Unset | None = UNSET) -> Asked:
        """What a call is to do that is for the server, and for no model of it."""
        return replace(self, spec=ModelSpec("-")).asked(timeout=timeout, metadata=metadata)._replace(spec=ModelSpec(""))

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

    def pairs(self, metadata: Metadata | Unset | None) -> MetadataPairs:
        """The call's metadata besides the client's; of one name the call's count. None adds nothing."""
        if metadata is UNSET or not metadata:
            return self.metadata
        own = checked_metadata(metadata)
        check_settled(own, self.settled)
        names = {key for key, _ in own}
        return (*((key, value) for key, value in self.metadata if key not in names), *own)


def check_settled(pairs: MetadataPairs, settled: Mapping[str, str]) -> None:
    """Raise ConfigError for a key of metadata whose value other settings settle, and for two authorizations."""
    for key, _ in pairs:
        if why := settled.get(key) or settled.get(f"{key.partition('-')[0]}-*"):
            raise ConfigError(f"metadata {key!r} contradicts other settings: {why}; leave it out")
    if sum(key == AUTHORIZATION for key, _ in pairs) > 1:
        raise ConfigError(f"metadata holds {AUTHORIZATION!r} more than once: give one")


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"expected {name}=True or False, got {shown(value)}")


def _new_id() -> str:
    import uuid  # slow to import, and few ask for it

    return uuid.uuid4().hex


def model_spec(model: str, version: int | None, label: str | None, signature: str | None) -> ModelSpec:
    """A ModelSpec of what a user gave. Raises ConfigError."""
    if not isinstance(model, str):
        raise ConfigError(f"expected a model's name, got {shown(model)}")
    if version is not None and label is not None:
        raise ConfigError(f"expected a version or a label, got both: version {shown(version)}, label {shown(label)}")
    if version is not None:
        version = _version_number(version)
    for name, value in (("label", label), ("signature", signature)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"expected {name} to be text, got {shown(value)}")
    return ModelSpec(model, version, label, signature or "")


def _version_number(version: Any) -> int:
    try:
        number = operator.index(version)  # numpy's integers too
    except TypeError:
        number = -1
    if isinstance(version, bool) or not 0 <= number < 1 << 63:
        raise ConfigError(f"expected a version number, got {shown(version)}")
    return number


def described(spec: ModelSpec) -> str:
    """A model and its version, for error texts."""
    which = f" version {spec.version}" if spec.version is not None else f" label {spec.label!r}" if spec.label else ""
    return f"model {spec.name!r}{which}"


def aliases(outputs: Iterable[str]) -> tuple[str, ...]:
    """The names of the wanted outputs. Raises ConfigError."""
    if outputs == ():
        return ()
    try:
        names = (outputs,) if isinstance(outputs, str) else tuple(outputs or ())
    except TypeError:
        raise ConfigError(f"expected outputs to be names of outputs, got {shown(outputs)}") from None
    if not all(isinstance(alias, str) for alias in names):
        raise ConfigError(f"expected outputs to be names of outputs, got {shown(names)}")
    return names
