"""Contradictions: combinations of options that exclude each other. Each raises ConfigError; none is ignored.

The options of a client, of ``with_options`` and of a call are levels. Those of one level must not contradict each
other; those nearer to the call replace what contradicts them. Nothing replaces what the connection determines.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._transports.connection import Connection
from tfs_client._transports.proxies import CHANNEL_OPTIONS as PROXY_OPTIONS
from tfs_client.errors import ConfigError
from tfs_client.options import MAX_INFLATED, UNSET, MetadataPairs, RequestId, RetryPolicy, Token, Unset

REQUEST_ID = "x-request-id"
AUTHORIZATION = "authorization"

KEEPALIVE_OPTIONS = (
    "grpc.keepalive_time_ms",
    "grpc.keepalive_timeout_ms",
    "grpc.keepalive_permit_without_calls",
    "grpc.http2.ping_timeout_ms",
    "grpc.http2.max_pings_without_data",
)

# Metadata keys that frame, encode or route a message, and what sets their values instead.
# "grpc-*" matches every key with that prefix.
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


def settled_keys(connection: Connection) -> Mapping[str, str]:
    """Metadata keys whose values the connection determines, with the reason: no option may set them."""
    settled = dict(KEYS if connection.target.rest else GRPC_KEYS)
    if connection.target.user:
        settled[AUTHORIZATION] = "the user in the target's URL already sets the authorization"
    return settled


def check_settled(pairs: MetadataPairs, settled: Mapping[str, str]) -> None:
    """Raise ConfigError for a metadata key whose value is determined elsewhere, and for two authorizations."""
    for key, _ in pairs:
        if why := settled.get(key) or settled.get(f"{key.partition('-')[0]}-*"):
            raise ConfigError(f"metadata {key!r} contradicts other settings: {why}; leave it out")
    if sum(key == AUTHORIZATION for key, _ in pairs) > 1:
        raise ConfigError(f"metadata holds {AUTHORIZATION!r} more than once: pass one")


def check_headers(
    pairs: MetadataPairs, token: Token | Unset | None, request_id: RequestId | Unset, settled: Mapping[str, str]
) -> None:
    """Raise ConfigError if two options of one level set the same header."""
    with_token = token is not UNSET and token is not None
    if with_token and AUTHORIZATION in settled:
        raise _contradiction("token=", "the user's name in the target's URL", "both are sent as authorization")
    check_settled(pairs, settled)
    keys = {key for key, _ in pairs}
    if with_token and AUTHORIZATION in keys:
        raise _contradiction("token=", "'authorization' in metadata=", "both are sent as authorization")
    if request_id is not UNSET and request_id and REQUEST_ID in keys:
        raise _contradiction("request_id=", f"{REQUEST_ID!r} in metadata=", "both are sent as x-request-id")


def check_channel_options(connection: Connection) -> None:
    """Raise ConfigError if a channel option sets what one of the client's options sets."""
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
            raise _contradiction(option, f"{found!r} in channel_options", "both set the same value")


def check_retry(retry: RetryPolicy | None, connection: Connection) -> None:
    """Raise ConfigError for a retry policy if the channel options configure gRPC's own retries."""
    options = connection.channel_options
    if retry is None or not options:
        return
    if not options.get("grpc.enable_retries", 1):
        raise _contradiction("retry=", "'grpc.enable_retries' in channel_options", "it turns retries off")
    if "grpc.service_config" in options and not _balances_only(options["grpc.service_config"]):
        raise _contradiction("retry=", "'grpc.service_config' in channel_options", "both define retries")


def _balances_only(config: str) -> bool:
    """Whether a service config only configures load balancing."""
    import json

    try:
        found = json.loads(config)
    except (TypeError, ValueError):
        return False
    return isinstance(found, dict) and set(found) <= {"loadBalancingConfig", "loadBalancingPolicy"}


def _contradiction(one: str, other: str, why: str) -> ConfigError:
    return ConfigError(f"{one} and {other} contradict each other ({why}): pass one of them")
