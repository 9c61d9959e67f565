"""What a gRPC channel is set up with: address, arguments, credentials, service config. Shared by both transports."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import grpc

from tfs_client.options import TLS, Connection
from tfs_client.transports.replicas import is_ip

# Messages of any size, unless the user sets a limit: a tensor is as large as it is. Compressed ones are left as they
# come, for gRPC inflates without a limit (``grpc_replies.py``). A connection of its own for every
# client, so that closing one closes its connection; and quick attempts to find a server again that was away.
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
    """The channel's arguments; those of the user count most."""
    chosen = dict(DEFAULT_OPTIONS)
    keepalive, tls = connection.keepalive, connection.tls
    if connection.limits.reply is not None:
        chosen["grpc.max_receive_message_length"] = min(connection.limits.reply, _LARGEST)
    if keepalive is not None:
        chosen["grpc.keepalive_time_ms"] = int(keepalive.interval * 1000)
        chosen["grpc.keepalive_timeout_ms"] = int(keepalive.timeout * 1000)
        chosen["grpc.http2.ping_timeout_ms"] = int(keepalive.timeout * 1000)  # the one that counts, else a minute
        chosen["grpc.keepalive_permit_without_calls"] = int(keepalive.idle)
        chosen["grpc.http2.max_pings_without_data"] = 0
    if len(addresses := connection.target.addresses) > 1:
        chosen["grpc.default_authority"] = addresses[0]  # gRPC's own is the whole list, which no proxy understands
    if tls is not None and (name := tls.authority or _first_name(addresses)):
        chosen["grpc.ssl_target_name_override"] = name
        chosen["grpc.default_authority"] = name
    if config := service_config(connection):
        chosen["grpc.service_config"] = json.dumps(config)
    return chosen | dict(connection.channel_options)


def _first_name(addresses: Sequence[str]) -> str:
    """Of replicas, whose list is no name, the one that their certificate should bear."""
    return addresses[0].rpartition(":")[0].strip("[]") if len(addresses) > 1 else ""


def service_config(connection: Connection) -> dict[str, Any]:
    """Balancing, as gRPC does it; calls are tried again by ``tfs_client.retries``.

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
    """Whether a blocking channel tries to connect, and has not managed to. Where that cannot be seen, it does not.

    grpc shows the state only to those who subscribe to its changes, by two threads for each channel. The channel below
    has it at hand, as grpc.aio's channels do.
    """
    while not hasattr(channel, "check_connectivity_state"):  # under interceptors, ours and those of others
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
    """TLS as gRPC takes it. Raises ConfigError for certificates that cannot be used."""
    from tfs_client.transports.tls import checked_pems  # few need them, and they import ssl and tempfile
    from tfs_client.transports.trust import grpc_roots

    ca, key, certificate = checked_pems(tls)
    roots = grpc_roots() if ca is None else ca
    return grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=certificate)
