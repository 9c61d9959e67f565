"""Contradictions: settings of a client that cannot both hold. Each is a ConfigError, or one of them would be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfs_client.defaults import AUTHORIZATION, REQUEST_ID, Defaults, check_settled
from tfs_client.errors import ConfigError
from tfs_client.options import MAX_INFLATED, UNSET, Connection, Token
from tfs_client.transports.proxies import CHANNEL_OPTIONS as PROXY_OPTIONS

KEEPALIVE_OPTIONS = (
    "grpc.keepalive_time_ms",
    "grpc.keepalive_timeout_ms",
    "grpc.keepalive_permit_without_calls",
    "grpc.http2.ping_timeout_ms",
    "grpc.http2.max_pings_without_data",
)

# Keys of metadata that frame, encode or route a message, and what sets their values instead.
# "grpc-*" stands for all that begin so.
_CONNECTION = "it controls the connection, which the client manages"
KEYS = {
    "content-type": "the transport sets the content type",
    "content-encoding": "compression= sets the encoding",
    "content-length": "the client computes the length",
    "transfer-encoding": "the client decides how a request is sent",
    "accept-encoding": "the client sets the encodings that it reads",
    "host": "the target sets the host; an interceptor may set another one",
    "connection": _CONNECTION,
    "keep-alive": _CONNECTION,
    "upgrade": _CONNECTION,
    "http2-settings": _CONNECTION,
    "te": _CONNECTION,
    "trailer": "requests have no trailers",
    "expect": "the client sends requests without waiting",
    "proxy-*": "proxy= configures the proxy",
}
GRPC_KEYS = {
    **KEYS,
    "host": "the target sets the host; 'grpc.default_authority' in channel_options sets another one",
    "user-agent": "'grpc.primary_user_agent' in channel_options sets it",
    "grpc-timeout": "timeout= sets the deadline",
    "grpc-encoding": "compression= sets the encoding",
    "grpc-*": "gRPC reserves these keys",
}


def check_settings(connection: Connection, defaults: Defaults, token: Token | None) -> Mapping[str, str]:
    """Raise ConfigError for settings that contradict each other.

    Returns the keys of metadata that are settled by other settings, with the reason: no call may give them.
    """
    _check_channel_options(connection)
    settled = dict(KEYS if connection.target.rest else GRPC_KEYS)
    if connection.target.user:
        settled[AUTHORIZATION] = "the user in the target's URL already sets the authorization"
        if token is not None:
            raise _contradiction("token=", "the user's name in the target's URL", "both are sent as authorization")
    check_settled(defaults.metadata, settled)
    keys = {key for key, _ in defaults.metadata}
    if token is not None and AUTHORIZATION in keys:
        raise _contradiction("token=", "'authorization' in metadata=", "both are sent as authorization")
    if defaults.request_id and REQUEST_ID in keys:
        raise _contradiction("request_id=", f"{REQUEST_ID!r} in metadata=", "one is new with every call")
    return settled


def _check_channel_options(connection: Connection) -> None:
    options = connection.channel_options
    tls, limits = connection.tls, connection.limits
    for given, option, names in (
        (connection.keepalive is not None, "keepalive=", KEEPALIVE_OPTIONS),
        (connection.compression is not None, "compression=", ("grpc.default_compression_algorithm",)),
        (connection.proxy is not UNSET, "proxy=", PROXY_OPTIONS),
        (limits.reply is not None, "max_reply_bytes=", ("grpc.max_receive_message_length",)),
        (limits.inflated != MAX_INFLATED, "max_inflated_bytes=", ("grpc.per_message_decompression",)),
        (tls is not None and tls.authority is not None, "TLS(authority=...)", ("grpc.ssl_target_name_override",)),
    ):
        if given and (found := next((name for name in names if name in options), "")):
            raise _contradiction(option, f"{found!r} in channel_options", "they set the same")
    if connection.retry is None:
        return
    if not options.get("grpc.enable_retries", 1):
        raise _contradiction("retry=", "'grpc.enable_retries' in channel_options", "it turns retries off")
    if "grpc.service_config" in options and not _balances_only(options["grpc.service_config"]):
        raise _contradiction("retry=", "'grpc.service_config' in channel_options", "both say what is tried again")


def _balances_only(config: Any) -> bool:
    """Whether a service config says nothing but how calls are balanced."""
    try:
        found = json.loads(config)
    except (TypeError, ValueError):
        return False
    return isinstance(found, dict) and set(found) <= {"loadBalancingConfig", "loadBalancingPolicy"}


def _contradiction(one: str, other: str, why: str) -> ConfigError:
    return ConfigError(f"{one} and {other} contradict each other ({why}): give one of them")
