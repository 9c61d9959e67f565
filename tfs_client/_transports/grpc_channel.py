"""Setting up gRPC channels: arguments, credentials, service config. Shared by both transports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import grpc

from tfs_client._transports.connection import Connection
from tfs_client._transports.replicas import is_ip
from tfs_client.options import TLS

# Messages of any size, unless the user sets a limit. Compressed replies are not decompressed, because gRPC inflates
# without a limit (``grpc_replies.py``). Each client has a separate connection, so that closing the client closes it.
# Reconnection is attempted quickly.
DEFAULT_OPTIONS: dict[str, Any] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.per_message_decompression": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5000,
    "grpc.dns_min_time_between_resolutions_ms": 5000,
}

_LARGEST = (1 << 31) - 1  # gRPC's arguments have 32 bits

COMPRESSIONS = {
    None: None,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
NO_COMPRESSION = grpc.Compression.NoCompression


def arguments(connection: Connection) -> dict[str, Any]:
    """The channel's arguments; the user's take precedence."""
    chosen = dict(DEFAULT_OPTIONS)
    keepalive, tls = connection.keepalive, connection.tls
    if connection.limits.reply is not None:
        chosen["grpc.max_receive_message_length"] = min(connection.limits.reply, _LARGEST)
    if keepalive is not None:
        chosen["grpc.keepalive_time_ms"] = int(keepalive.interval * 1000)
        chosen["grpc.keepalive_timeout_ms"] = int(keepalive.timeout * 1000)
        chosen["grpc.http2.ping_timeout_ms"] = int(
            keepalive.timeout * 1000
        )  # this one applies; its default is a minute
        chosen["grpc.keepalive_permit_without_calls"] = int(keepalive.idle)
        chosen["grpc.http2.max_pings_without_data"] = 0
    if len(addresses := connection.target.addresses) > 1:
        chosen["grpc.default_authority"] = addresses[
            0
        ]  # the default is the whole list, which proxies do not understand
    if tls is not None and (name := tls.authority or _first_name(addresses)):
        chosen["grpc.ssl_target_name_override"] = name
        chosen["grpc.default_authority"] = name
    if config := service_config(connection):
        import json

        chosen["grpc.service_config"] = json.dumps(config)
    return chosen | dict(connection.channel_options)


def _first_name(addresses: Sequence[str]) -> str:
    """The host name to expect in the certificate of replicas: that of the first one."""
    return addresses[0].rpartition(":")[0].strip("[]") if len(addresses) > 1 else ""


def service_config(connection: Connection) -> dict[str, object]:
    """The service config: load balancing only. Retries are in ``tfs_client._flows.retries``.

    https://github.com/grpc/grpc-proto/blob/master/grpc/service_config/service_config.proto
    """
    return {"loadBalancingConfig": [{"round_robin": {}}]} if _balanced(connection.target.addresses) else {}


def _balanced(addresses: Sequence[str]) -> bool:
    """Whether there may be several servers: a list, or a name; localhost is one server with two addresses."""
    if len(addresses) > 1:
        return True
    name = re.fullmatch(r"(?:dns:(?:///?(?:[^/]*/)?)?)?(?P<host>[^/:\[\]]+):[0-9]+", addresses[0])
    return name is not None and name["host"] != "localhost" and not is_ip(f"{name['host']}:0")


def connecting(channel: Any) -> bool:
    """Whether a blocking channel is trying to connect. False if that is not known.

    grpc reports the state only to subscribers, with two threads for each channel. The underlying channel has it at
    hand, as the channels of grpc.aio do.
    """
    while not hasattr(channel, "check_connectivity_state"):  # below interceptors and instrumentation
        channel = getattr(channel, "_channel", None)
        if channel is None:
            return False
    try:
        return channel.check_connectivity_state(False) in _CONNECTING
    except ValueError:  # it was closed
        return False


_CONNECTING = [
    state.value[0] for state in (grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
]


def credentials(tls: TLS) -> grpc.ChannelCredentials:
    """TLS as gRPC credentials. Raises ConfigError for certificates that cannot be used."""
    from tfs_client._transports.tls import checked_pems  # rarely needed, and they import ssl and tempfile
    from tfs_client._transports.trusted_authorities import grpc_roots

    ca, key, certificate = checked_pems(tls)
    roots = grpc_roots() if ca is None else ca
    return grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=certificate)
