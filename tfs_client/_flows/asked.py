"""Asked: what one call asks for. Its own options where it has them, the client's defaults elsewhere."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, SupportsIndex

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.client_options import ClientOptions
from tfs_client._flows.contradictions import (
    AUTHORIZATION,
    REQUEST_ID,
    check_headers,
    check_retry,
    check_settled,
    settled_keys,
)
from tfs_client._printable import shown
from tfs_client._transports.connection import Connection, checked_compression_to
from tfs_client._transports.deadline import Deadline
from tfs_client.errors import ConfigError
from tfs_client.options import (
    UNSET,
    CallOptions,
    Metadata,
    MetadataPairs,
    RequestId,
    RetryPolicy,
    Token,
    Unset,
    check_flag,
    checked_compression,
    checked_kind,
    checked_metadata,
    checked_request_id,
    checked_timeout,
    checked_token,
    is_sendable,
)


class Asked(NamedTuple):
    """What one call asks for: its own options on top of the client's defaults, checked.

    Attributes:
        spec: the model, its version or label, and the signature.
        deadline: the deadline of all steps together.
        metadata: the pairs to send.
        compression: of requests; UNSET for the client's.
        validate: whether inputs are checked against the signature before they are sent.
        request_id: the request id among the metadata; "" for none.
        cast: whether arrays are cast to the signature's dtypes where this preserves every value.
        paced: whether the call belongs to a batch, which itself slows down and retries when the server is busy.
        retry: which failed attempts are followed by another; None for none.
        token: the token to send, unless the metadata has an authorization; None for none.
        added: the keys of metadata that hooks have added; recordings leave them out.
    """

    spec: ModelSpec
    deadline: Deadline
    metadata: MetadataPairs
    compression: str | Unset | None = UNSET
    validate: bool = False
    request_id: str = ""
    cast: bool = False
    paced: bool = False
    retry: RetryPolicy | None = None
    token: Token | None = None
    added: tuple[str, ...] = ()

    def unlabelled(self) -> Asked:
        """The same without label and signature, for calls that take neither."""
        return self._replace(spec=replace(self.spec, label=None, signature=""))


@dataclass(frozen=True)
class Defaults:
    """The client's values for options that a call can override.

    Attributes:
        spec: model, version or label, and signature; with an empty name if every call must name its model.
        timeout: the limit of a call in seconds; None for no limit.
        metadata: pairs sent with every call.
        validate: whether inputs are checked against the signature before they are sent.
        request_id: True for a new id with every call, an id, or a function that returns one.
        cast: whether arrays are cast to the signature's dtypes where this preserves every value.
        compression: of requests; UNSET for the connection's.
        retry: which failed calls are retried; None for none.
        token: the bearer token to send, or a function that returns one; None for none.
        connection: what options must not contradict.
        settled: metadata keys that no option may set, because the connection determines their values, and why.
    """

    spec: ModelSpec
    timeout: float | None
    metadata: MetadataPairs
    validate: bool = False
    request_id: RequestId = False
    cast: bool = False
    compression: str | Unset | None = UNSET
    retry: RetryPolicy | None = None
    token: Token | None = field(default=None, repr=False)
    connection: Connection | None = field(default=None, repr=False)
    settled: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: Connection, options: ClientOptions) -> Defaults:
        """The defaults among a client's options. Raises ConfigError for options that make no sense."""
        bare = cls(ModelSpec(""), None, (), connection=connection, settled=settled_keys(connection))
        return bare.derived(
            options["model"] or "",
            options["version"],
            options["label"],
            options["signature"],
            timeout=options["timeout"],
            metadata=options["metadata"],
            validate=options["validate"],
            cast=options["cast"],
            retry=options["retry"],
            token=options["token"],
            request_id=options["request_id"],
        )

    def derived(
        self,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        validate: bool | Unset = UNSET,
        cast: bool | Unset = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Defaults:
        """The same with other values; UNSET keeps one. Metadata is added by key. Raises ConfigError.

        The new values must not contradict each other. They replace metadata and a token from before that they
        contradict; so a token of None removes an authorization, and a request id of False removes that id.
        """
        own = () if metadata is UNSET else checked_metadata(metadata)
        check_headers(own, token, request_id, self.settled)
        replaced = {key for key, _ in own}
        changes: dict[str, object] = {"spec": self._spec(model, version, label, signature)}
        if timeout is not UNSET:
            changes["timeout"] = checked_timeout(timeout)
        if compression is not UNSET:
            target = None if self.connection is None else self.connection.target
            changes["compression"] = checked_compression_to(compression, target)
        for name, flag in (("validate", validate), ("cast", cast)):
            if flag is not UNSET:
                check_flag(name, flag)
                changes[name] = flag
        if retry is not UNSET:
            checked_kind("retry", retry, RetryPolicy)
            if self.connection is not None:
                check_retry(retry, self.connection)
            changes["retry"] = retry
        if token is not UNSET:
            changes["token"] = checked_token(token)
            replaced.add(AUTHORIZATION)
        elif AUTHORIZATION in replaced:
            changes["token"] = None
        if request_id is not UNSET:
            changes["request_id"] = checked_request_id(request_id)
            replaced.add(REQUEST_ID)
        changes["metadata"] = (*((key, value) for key, value in self.metadata if key not in replaced), *own)
        return replace(self, **changes)  # type: ignore[arg-type]  # each has the type of its field

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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Asked:
        """Resolve the options of a call; UNSET means the client's default. Raises ConfigError."""
        if (
            (model is version is label is signature is timeout is metadata is compression is validate is cast is UNSET)
            and (retry is token is request_id is UNSET)
            and self._optionless is not None
        ):
            return Asked(self.spec, Deadline(self.timeout), *self._optionless)
        if not (retry is token is request_id is UNSET):
            own = self.derived(metadata=metadata, retry=retry, token=token, request_id=request_id)
            return own.asked(
                model, version, label, signature, timeout=timeout, compression=compression, validate=validate, cast=cast
            )
        spec = self.resolve(model, version, label, signature)
        deadline = Deadline(self.timeout if timeout is UNSET else checked_timeout(timeout))
        pairs, id_sent = self.pairs(metadata), ""
        if pairs:
            id_sent = next((str(value) for key, value in pairs if key == REQUEST_ID), "")
        if self.request_id and not id_sent:
            id_sent = _id_of(self.request_id)
            pairs += checked_metadata({REQUEST_ID: id_sent})
        if compression is UNSET:
            compression = self.compression
        else:
            checked_compression(compression)
        if validate is UNSET:
            validate = self.validate
        else:
            check_flag("validate", validate)
        if cast is UNSET:
            cast = self.cast
        else:
            check_flag("cast", cast)
        return Asked(spec, deadline, pairs, compression, validate, id_sent, cast, False, self.retry, self.token)

    @cached_property
    def _optionless(self) -> tuple[Any, ...] | None:
        """What calls without options ask for, after spec and deadline; None if it differs from call to call."""
        if not self.spec.name or self.request_id:
            return None
        return self.asked(timeout=None)[2:]

    def of_each(self, options: CallOptions) -> tuple[Defaults, tuple[str, ...]]:
        """Check the options of many calls once. Returns them as defaults, and the aliases of the wanted outputs.

        Raises ConfigError; TypeError for unknown options.
        """
        for name in options:
            if name not in CallOptions.__annotations__:
                known = ", ".join(CallOptions.__annotations__)
                raise TypeError(f"unexpected option {name!r}; known options, besides the method's own: {known}")
        found = options.copy()
        outputs = aliases(found.pop("outputs", ()))
        each = self.derived(**found)  # type: ignore[misc]  # without outputs
        each.resolve()
        return each, outputs

    def of_server(
        self,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Asked:
        """Resolve the options of a call to the server itself, not to one of its models."""
        asked = replace(self, spec=ModelSpec("-")).asked(
            timeout=timeout, metadata=metadata, retry=retry, token=token, request_id=request_id
        )
        return asked._replace(spec=ModelSpec(""))

    def resolve(
        self,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
    ) -> ModelSpec:
        """The model, version and signature of a call. Raises ConfigError if no model is named."""
        spec = (
            self.spec
            if model is version is label is signature is UNSET
            else self._spec(model, version, label, signature)
        )
        if not spec.name:
            ignored = (
                " (TFS_MODEL applies only to clients made without a target)" if os.environ.get("TFS_MODEL") else ""
            )
            raise ConfigError(
                "expected a model, got none: pass model= to the call, or to the client as the default of its calls"
                f"{ignored}"
            )
        return spec

    def _spec(
        self,
        model: str | Unset,
        version: int | Unset | None,
        label: str | Unset | None,
        signature: str | Unset | None,
    ) -> ModelSpec:
        """Version, label and signature of these defaults apply only to their model."""
        base = self.spec
        if model is not UNSET and model != base.name:
            base = ModelSpec(model)
        if version is not UNSET or label is not UNSET:  # one of them replaces both
            base = replace(base, version=None, label=None)
        return model_spec(
            base.name,
            base.version if version is UNSET else version,
            base.label if label is UNSET else label,
            base.signature if signature is UNSET else signature,
        )

    def pairs(self, metadata: Metadata | Unset | None) -> MetadataPairs:
        """The client's metadata with the call's, which take precedence by key. None adds nothing."""
        if metadata is UNSET or not metadata:
            return self.metadata
        own = checked_metadata(metadata)
        check_settled(own, self.settled)
        names = {key for key, _ in own}
        return (*((key, value) for key, value in self.metadata if key not in names), *own)


def _id_of(request_id: RequestId) -> str:
    """The id of one request."""
    if request_id is True:
        import uuid  # slow to import, and rarely needed

        return uuid.uuid4().hex
    if not callable(request_id):
        return str(request_id)
    found = request_id()
    if not is_sendable(found):
        raise ConfigError(f"expected a request id as printable ASCII text from {shown(request_id)}, got {shown(found)}")
    return found


def model_spec(model: str, version: int | None, label: str | None, signature: str | None) -> ModelSpec:
    """A ModelSpec from the user's options. Raises ConfigError."""
    if not isinstance(model, str):
        raise ConfigError(f"expected a model name, got {shown(model)}")
    if version is not None and label is not None:
        raise ConfigError(f"expected a version or a label, got both: version {shown(version)}, label {shown(label)}")
    if version is not None:
        version = _version_number(version)
    for name, value in (("label", label), ("signature", signature)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"expected {name} as a string, got {shown(value)}")
    return ModelSpec(model, version, label, signature or "")


def _version_number(version: SupportsIndex) -> int:
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
    """The aliases of the requested outputs. Raises ConfigError."""
    if outputs == ():
        return ()
    try:
        names = (outputs,) if isinstance(outputs, str) else tuple(outputs or ())
    except TypeError:
        raise ConfigError(f"expected outputs as names of outputs, got {shown(outputs)}") from None
    if not all(isinstance(alias, str) for alias in names):
        raise ConfigError(f"expected outputs as names of outputs, got {shown(names)}")
    return names
