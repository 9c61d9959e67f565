"""Where a server listens: both ports read a host alike, and the log says where they are."""

from __future__ import annotations

import logging
import socket

import numpy as np
import pytest
from tcp import free_port

from tfs_client import ModelConfig, ModelServerConfig, PredictClient, TensorSpec
from tfs_client.errors import ConfigError
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.access.addresses import addresses, bound, is_available

VECTOR = TensorSpec("float32", (None,))
V4, V6 = "127.0.0.1", "::1"
with_ipv6 = pytest.mark.skipif(not is_available(V6), reason="the machine has no IPv6")


def model():
    return {"serving_default": FunctionSignature(lambda x: {"y": 2 * x}, {"x": VECTOR}, {"y": VECTOR})}


@pytest.fixture
def serving():
    """Starts servers with both ports and a model "m"."""
    servers = []

    def start(host, rest_port=0, **options):
        server = Server(ServerConfig(host=host, rest_port=rest_port, **options))
        server.add_model("m", model())
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def rest_port(server):
    return int(server.rest_url.rpartition(":")[2])


def answering(server, host):
    """Which ports answer calls at an address."""
    found = []
    for scheme, port in (("", server.port), ("http://", rest_port(server))):
        try:
            socket.create_connection((host, port), 20).close()
        except ConnectionRefusedError:
            continue
        shown = f"[{host}]" if ":" in host else host
        with PredictClient(f"{scheme}{shown}:{port}", model="m", timeout=20) as client:
            assert client.predict(np.float32([1]))["y"].tolist() == [2]
        found.append("REST" if scheme else "gRPC")
    return found


BOTH = ["gRPC", "REST"]


@pytest.mark.parametrize(
    ("host", "v4", "v6"),
    [
        (V4, BOTH, []),
        pytest.param(V6, [], BOTH, marks=with_ipv6),
        pytest.param("0.0.0.0", BOTH, BOTH, marks=with_ipv6),
        pytest.param("::", BOTH, BOTH, marks=with_ipv6),
        pytest.param("localhost", BOTH, BOTH, marks=with_ipv6),
        ("127.0.0.2", [], []),
    ],
)
def test_both_ports_listen_at_all_addresses_of_the_host(serving, host, v4, v6):
    server = serving(host)
    assert answering(server, V4) == v4
    assert answering(server, V6) == v6


@pytest.mark.parametrize(
    ("host", "machine", "expected"),
    [
        ("0.0.0.0", {"::", "0.0.0.0"}, ["::"]),
        ("::", {"::", "0.0.0.0"}, ["::"]),
        ("0.0.0.0", {"0.0.0.0"}, ["0.0.0.0"]),
        ("::", {"0.0.0.0"}, ["0.0.0.0"]),
        ("localhost", {V4, V6}, [V4, V6]),
        ("LOCALHOST.", {V4}, [V4]),
        ("localhost", {V6}, [V6]),
        ("localhost", set(), [V4, V6]),
        (V6, set(), [V6]),
        ("127.1", {V4}, [V4]),
    ],
)
def test_addresses_missing_on_this_machine_are_skipped_unless_all_are_missing(host, machine, expected):
    assert addresses(host, machine.__contains__) == expected


@with_ipv6
@pytest.mark.parametrize("side", ["port", "rest_port"])
@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_a_port_in_use_at_one_of_the_addresses_is_an_error(host, side):
    with bound(V6, 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen at {host}:{port}.*Address already in use"):
            Server(ServerConfig(host=host, **{side: port})).start()


@pytest.mark.parametrize(
    ("host", "trouble"),
    [("no-such-host.invalid", "Name or service not known"), ("x" * 64, ""), ("192.0.2.1", "Cannot assign requested")],
)
def test_a_host_of_another_machine_is_an_error(serving, host, trouble, tmp_path):
    with pytest.raises(ConfigError, match=f"cannot listen at {host}:0: .*{trouble}"):
        serving(host)
    with pytest.raises(ConfigError, match=rf"cannot listen at {host}:0 for REST.*{trouble}"):
        serving(host, port=None, grpc_socket_path=tmp_path / "socket")


@pytest.mark.parametrize("host", [None, "", 8500])
def test_a_host_that_is_not_a_string_is_refused_before_anything_starts(host):
    with pytest.raises(ConfigError, match="expected a host as an address or a name"):
        ServerConfig(host=host)


def test_an_ipv6_address_may_be_in_brackets():
    assert ServerConfig(host="[::1]") == ServerConfig(host="::1")


def test_an_unknown_host_is_an_error_before_models_load(tmp_path):
    config = ModelServerConfig([ModelConfig("m", str(tmp_path / "none"), platform="python")])
    with pytest.raises(ConfigError, match=r"cannot listen at no-such-host\.invalid:0"):
        Server(ServerConfig(host="no-such-host.invalid", model_config=config), platforms={"python": str}).start()


def test_a_stopped_server_closes_its_ports_and_may_start_again_on_them(serving):
    ports = free_port(), free_port()
    server = serving("localhost", port=ports[0], rest_port=ports[1])
    assert (server.port, rest_port(server)) == ports
    server.stop()
    for host in filter(is_available, (V4, V6)):
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), 20)
    again = Server(ServerConfig(host="localhost", port=ports[0], rest_port=ports[1]))
    with again:
        assert (again.port, rest_port(again)) == ports


@pytest.mark.parametrize(
    ("host", "grpc", "rest"),
    [
        (V4, V4, "localhost"),
        ("localhost", "localhost", "localhost"),
        ("127.0.0.2", "127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0"),
        pytest.param("::", "[::]", "[::]", marks=with_ipv6),
    ],
)
def test_the_log_names_the_host_of_both_ports_once_they_answer(serving, caplog, host, grpc, rest):
    caplog.set_level(logging.INFO)
    server = serving(host)
    assert caplog.messages[-4:] == [
        "Using InsecureServerCredentials",
        f"Running gRPC ModelServer at {grpc}:{server.port} ...",
        f"Exporting HTTP/REST API at:{rest}:{rest_port(server)} ...",
        "[evhttp_server.cc : 250] NET_LOG: Entering the event loop ...",
    ]
