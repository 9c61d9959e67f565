"""What a gRPC channel is set up with: addresses, arguments, service config."""

from __future__ import annotations

import socket
import time

import pytest
from calling import calling
from scripted import MODEL, predict_reply

from tfs_client import TLS, RetryPolicy
from tfs_client._transports.connection import Connection
from tfs_client._transports.grpc_channel import DEFAULT_OPTIONS, arguments, service_config
from tfs_client._transports.targets import checked_target
from tfs_client.options import Keepalive


def connection(target, **options) -> Connection:
    return Connection(checked_target(target), **options)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
def test_replicas_may_have_addresses_of_both_kinds(raw_server, style):
    targets = [
        raw_server(address, Predict=lambda request, context, version=version: predict_reply(version))
        for version, address in enumerate(("127.0.0.1:0", "[::1]:0"))
    ]
    with calling(style, targets, model=MODEL, retry=RetryPolicy(), timeout=20) as client:
        versions, ends = set(), time.monotonic() + 20
        while versions != {0, 1} and time.monotonic() < ends:
            versions.add(client.predict({"x": [1.0]}).model.version)
    assert versions == {0, 1}


@pytest.mark.parametrize(
    ("target", "balanced"),
    [
        ("127.0.0.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("unix:/tmp/socket", False),
        ("host:1", True),
        ("dns:///host:1", True),
        ("dns:///localhost:1", False),
        (["127.0.0.1:1", "127.0.0.1:2"], True),
    ],
)
def test_calls_are_balanced_where_there_may_be_several_servers(target, balanced):
    config = service_config(connection(target))
    assert config == ({"loadBalancingConfig": [{"round_robin": {}}]} if balanced else {})


def test_retries_are_left_to_the_client():
    """grpc retries what no server saw, and nothing else."""
    assert arguments(connection("127.0.0.1:1")) == DEFAULT_OPTIONS


def test_the_name_that_is_checked_is_the_authority_or_the_first_of_the_replicas():
    def names(target, tls=None):
        found = arguments(connection(target, tls=tls))
        return found.get("grpc.ssl_target_name_override"), found.get("grpc.default_authority")

    assert names("host:1", TLS()) == (None, None)
    assert names("host:1", TLS(authority="other")) == ("other", "other")
    assert names(["one:1", "two:2"], TLS()) == ("one", "one")
    assert names(["[::1]:1", "two:2"], TLS()) == ("::1", "::1")
    assert names(["one:1", "two:2"], TLS(authority="other")) == ("other", "other")
    assert names(["one:1", "two:2"]) == (None, "one:1")


def test_keepalive_is_passed_in_milliseconds_and_the_users_arguments_take_precedence():
    link = connection(
        "host:1",
        keepalive=Keepalive(interval=30, timeout=2.5, idle=True),
        channel_options={"grpc.keepalive_time_ms": 7, "grpc.x": "y"},
    )
    found = arguments(link)
    assert found["grpc.keepalive_time_ms"] == 7
    assert found["grpc.keepalive_timeout_ms"] == found["grpc.http2.ping_timeout_ms"] == 2500
    assert found["grpc.keepalive_permit_without_calls"] == 1
    assert found["grpc.x"] == "y"
    assert found.items() >= DEFAULT_OPTIONS.items()
