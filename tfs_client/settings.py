"""Settings: the client's configuration, checked; a client is pickled by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfs_client.codec.predict import Join, plain_join
from tfs_client.contradictions import check_settings
from tfs_client.defaults import Defaults
from tfs_client.errors import ConfigError
from tfs_client.exchanges import FORMS, Exchange, GrpcExchange, RestExchange
from tfs_client.flows import Flows
from tfs_client.known_signatures import KnownSignatures, StatedSignatures
from tfs_client.options import (
    TLS,
    ChannelOptions,
    Connection,
    Keepalive,
    Limits,
    Metadata,
    RetryPolicy,
    Token,
    Unset,
    checked_channel_options,
)
from tfs_client.signatures import GivenSignatures, Signatures
from tfs_client.targets import checked_target

REST_AGE = 60.0  # seconds; REST replies do not say which version answered, so signatures are asked for anew after these


@dataclass(frozen=True)
class Settings:
    """Options of a client.

    Attributes:
        connection: how the server is reached.
        defaults: what holds for calls that say nothing else.
        token: sent as a bearer token with every call, or the function that gives it; None for none.
        rest_format: "auto", "row" or "columnar".
        signatures: those that the user stated for the client's model; None for the server's own.
    """

    connection: Connection
    defaults: Defaults
    token: Token | None = field(default=None, repr=False)
    rest_format: str = "auto"
    signatures: Signatures | None = None

    @classmethod
    def of(
        cls,
        target: str | Iterable[str],
        *,
        model: str | None,
        version: int | None,
        label: str | None,
        signature: str | None,
        timeout: float | None,
        metadata: Metadata | None,
        validate: bool,
        cast: bool,
        signatures: GivenSignatures | None,
        tls: TLS | bool | None,
        proxy: str | Unset | None,
        token: Token | None,
        retry: RetryPolicy | None,
        keepalive: Keepalive | None,
        compression: str | None,
        interceptors: Sequence[Any],
        request_id: bool | Callable[[], str],
        rest_format: str,
        channel_options: ChannelOptions | None,
        max_reply_bytes: int | None,
        max_inflated_bytes: int | None,
    ) -> Settings:
        """Settings as a user gives them. Raises ConfigError for what makes no sense."""
        connection = Connection(
            checked_target(target),
            tls=tls,  # type: ignore[arg-type]  # True and False become what they stand for
            retry=retry,
            keepalive=keepalive,
            compression=compression,
            interceptors=interceptors,
            channel_options=checked_channel_options(channel_options),
            proxy=proxy,
            limits=Limits(max_reply_bytes, max_inflated_bytes),
        )
        defaults = Defaults.of(model, version, label, signature, timeout, metadata, validate, request_id, cast)
        if rest_format not in FORMS:
            raise ConfigError(f"expected rest_format 'auto', 'row' or 'columnar', got {rest_format!r}")
        if rest_format != "auto" and not connection.target.rest:
            raise ConfigError("rest_format is for REST: leave it out, or give a target such as 'http://host:8501'")
        defaults = replace(defaults, settled=check_settings(connection, defaults, token))
        stated = None
        if signatures is not None:
            from tfs_client import given_signatures  # few state any

            stated = given_signatures.stated(signatures, defaults.spec.name)
        settings = cls(connection, defaults, token, rest_format, stated)
        settings.exchange()  # checks the rest
        return settings

    @property
    def direct(self) -> bool:
        """Whether a prediction by names is one message there and one back, and nothing else."""
        return not self.connection.target.rest and self.token is None

    def exchange(self, join: Join = plain_join) -> Exchange:
        """How calls are made; ``join`` makes the requests of gRPC."""
        if self.connection.target.rest:
            return RestExchange(self.connection, self.token, self.rest_format)
        return GrpcExchange(self.connection, self.token, join)

    def flows(self, join: Join = plain_join) -> Flows:
        """What a client's calls do."""
        target, exchange = self.connection.target, self.exchange(join)
        given = None if self.signatures is None else StatedSignatures(self.defaults.spec.name, self.signatures)
        return Flows(exchange, str(target), KnownSignatures(exchange, REST_AGE if target.rest else None, given))

    def shown(self, kind: str) -> str:
        """A client with these settings, for people."""
        target = self.connection.target
        name = self.defaults.spec.name
        where = repr(target.shown[0]) if len(target.shown) == 1 else repr(list(target.shown))
        return f"{kind}({where}{f', model={name!r}' if name else ''})"
