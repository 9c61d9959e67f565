"""ClientOptions: the arguments of a client's constructor in one object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from tfs_client.options import (
    DEFAULT_TIMEOUT,
    MAX_INFLATED,
    TLS,
    UNSET,
    ChannelOptions,
    Keepalive,
    Metadata,
    RequestId,
    RetryPolicy,
    Token,
    Unset,
)
from tfs_client.signatures import GivenSignatures
from tfs_client.telemetry.records import Hook

if TYPE_CHECKING:
    from tfs_client.recordings.recording import Recording


class OwnOptions(TypedDict):
    """The options that only arguments set."""

    signatures: GivenSignatures | None
    interceptors: Sequence[Any]
    record: str | os.PathLike[str] | Recording | None
    hooks: Hook | Sequence[Hook]


class GivenOptions(OwnOptions):
    """The arguments of a client; see ``PredictClient``. UNSET leaves an option to the configuration."""

    profile: str | os.PathLike[str] | None
    model: str | Unset | None
    version: int | Unset | None
    label: str | Unset | None
    signature: str | Unset | None
    timeout: float | Unset | None
    metadata: Metadata | Unset | None
    validate: bool | Unset
    cast: bool | Unset
    tls: TLS | bool | Unset | None
    proxy: str | Unset | None
    token: Token | Unset | None
    retry: RetryPolicy | Unset | None
    keepalive: Keepalive | Unset | None
    compression: str | Unset | None
    request_id: RequestId | Unset
    rest_format: str | Unset
    channel_options: ChannelOptions | Unset | None
    max_reply_bytes: int | Unset | None
    max_inflated_bytes: int | Unset | None


class ClientOptions(OwnOptions):
    """A client's options, unchecked; ``Settings.of`` checks them."""

    model: str | None
    version: int | None
    label: str | None
    signature: str | None
    timeout: float | None
    metadata: Metadata | None
    validate: bool
    cast: bool
    tls: TLS | bool | None
    proxy: str | Unset | None
    token: Token | None
    retry: RetryPolicy | None
    keepalive: Keepalive | None
    compression: str | None
    request_id: RequestId
    rest_format: str
    channel_options: ChannelOptions | None
    max_reply_bytes: int | None
    max_inflated_bytes: int | None


DEFAULTS = ClientOptions(
    model=None,
    version=None,
    label=None,
    signature=None,
    timeout=DEFAULT_TIMEOUT,
    metadata=None,
    validate=False,
    cast=False,
    signatures=None,
    tls=None,
    proxy=UNSET,
    token=None,
    retry=None,
    keepalive=None,
    compression=None,
    interceptors=(),
    request_id=False,
    rest_format="auto",
    channel_options=None,
    max_reply_bytes=None,
    max_inflated_bytes=MAX_INFLATED,
    record=None,
    hooks=(),
)
"""The values of options that neither an argument nor the configuration sets."""


def passed(given: GivenOptions) -> dict[str, object]:
    """Return the options that the caller passed, without the profile."""
    return {name: value for name, value in given.items() if value is not UNSET and name != "profile"}


def with_defaults(options: dict[str, object]) -> ClientOptions:
    """Return the options on top of the defaults."""
    return cast("ClientOptions", {**DEFAULTS, **options})
