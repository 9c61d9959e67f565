"""FakeServer's life: fixed ports, restarts that clients survive, unittest, and nothing left behind."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import numpy as np
import pytest
from calling import STYLES, calling
from tcp import free_port

import tfs_client
from tfs_client import ClosedError, ConfigError, PredictClient, TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer, faults

VECTOR = TensorSpec("float32", (None,))
PATIENCE = 20  # seconds that no test should need
RELAYED = pytest.mark.parametrize("relayed", [True, False])


def doubling(server):
    return server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


# --- ports -----------------------------------------------------------------------------------------------------------


@RELAYED
@pytest.mark.parametrize("in_config", [True, False])
def test_ports_can_be_fixed(relayed, in_config):
    port, rest_port = free_port(), free_port()
    ports = {"port": port, "rest_port": rest_port}
    given = {"config": ServerConfig(**ports)} if in_config else ports
    with FakeServer(connection_faults=relayed, **given) as server:
        socket.create_connection(("127.0.0.1", rest_port), timeout=PATIENCE).close()  # before rest_url is read
        assert server.target == f"127.0.0.1:{port}"
        assert server.rest_url == f"http://127.0.0.1:{rest_port}"


def test_a_port_that_contradicts_the_config_is_refused():
    with pytest.raises(ConfigError, match="expected one port, got 5 in the config and 6 as an argument"):
        FakeServer(ServerConfig(port=5), port=6)
    with pytest.raises(ConfigError, match="expected one rest_port, got 5 in the config and 6 as an argument"):
        FakeServer(ServerConfig(rest_port=5), rest_port=6)
    with pytest.raises(ConfigError, match="expected a port for REST other than gRPC's, got 5 for both"):
        FakeServer(ServerConfig(port=5), rest_port=5)
    with pytest.raises(ConfigError):
        FakeServer(port=70_000)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strict": "no"}, "expected strict to be True or False, got 'no'"),
        ({"connection_faults": 1}, "expected connection_faults to be True or False, got 1"),
        ({"check_shapes": None}, "expected check_shapes to be True or False, got None"),
        ({"config": 8500}, r"expected config=ServerConfig\(...\), got 8500"),
    ],
)
def test_options_of_other_types_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        FakeServer(**options)


@RELAYED
@pytest.mark.parametrize("name", ["port", "rest_port"])
def test_a_port_in_use_is_an_error_and_nothing_stays_open(relayed, name):
    before = threads()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = FakeServer(connection_faults=relayed, **{name: taken.getsockname()[1]})
        with pytest.raises(ConfigError, match=r"cannot listen at 127\.0\.0\.1:"):
            server.start()
        with pytest.raises(ClosedError):
            _ = server.target
    wait_for(lambda: threads() <= before)
    with server:
        assert (server.target if name == "port" else server.rest_url).endswith(f":{taken_port(server, name)}")


def taken_port(server, name):
    return (server.target if name == "port" else server.rest_url).rpartition(":")[2]


# --- restarts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("relayed", "style"), [*((True, style) for style in STYLES), (False, "grpc"), (False, "rest")])
def test_a_client_reconnects_after_a_restart(relayed, style):
    with doubling(FakeServer(port=free_port(), rest_port=free_port(), connection_faults=relayed)) as server:
        before = server.target, server.rest_url
        with calling(style, server, model="m", timeout=PATIENCE) as client:
            assert client.predict([1.0]).array.tolist() == [2]
            assert server.restart() is server
            client.wait_until_ready(PATIENCE)
            assert client.predict([2.0]).array.tolist() == [4]
        assert (server.target, server.rest_url) == before
        assert len(server.calls) == 2


def test_rest_that_was_open_is_open_after_a_restart():
    with (
        doubling(FakeServer(rest_port=free_port())) as server,
        PredictClient(server.rest_url, model="m", timeout=PATIENCE) as client,
    ):
        for step in range(3):
            client.wait_until_ready(PATIENCE)  # without a look at rest_url
            assert client.predict([1.0 * step]).array.tolist() == [2 * step]
            server.restart()


def test_a_stopped_server_refuses_connections_and_can_be_started_again():
    server = doubling(FakeServer(port=free_port())).start()
    port = int(server.target.rpartition(":")[2])
    for _ in range(2):
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        with pytest.raises(ClosedError):
            _ = server.rest_url
        for _ in range(2):  # once more has no effect
            server.start()
            assert server.target == f"127.0.0.1:{port}"
    server.server.stop()
    with server.start(), PredictClient(server.target, model="m", timeout=PATIENCE) as client:
        assert client.predict([1.0]).array.tolist() == [2]


# --- unittest --------------------------------------------------------------------------------------------------------


class ForClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = doubling(FakeServer()).start()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.own = doubling(FakeServer()).start()
        self.addCleanup(self.own.stop)

    def test_both_answer(self):
        for server in (self.server, self.own):
            with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
                assert client.predict([1.0]).array.tolist() == [2]


def test_a_unittest_leaves_nothing():
    before = threads()
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(ForClass).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    with pytest.raises(ClosedError):
        _ = ForClass.server.target
    wait_for(lambda: threads() <= before)


# --- nothing is left -------------------------------------------------------------------------------------------------


def threads():
    """Threads of servers. Those of gRPC's own library come and go."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("tfs-")}


def files():
    return len(os.listdir("/proc/self/fd"))


def wait_for(condition):
    wait, end = threading.Event(), PATIENCE / 0.02
    while not condition():
        end -= 1
        assert end > 0, "it does not become true"
        wait.wait(0.02)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files in /proc")
@RELAYED
def test_cycles_leave_no_thread_and_no_file(relayed):
    def cycle(number):
        with doubling(FakeServer(connection_faults=relayed)) as server:
            if number % 2:
                with PredictClient(server.rest_url, model="m", timeout=PATIENCE) as client:
                    client.predict([1.0])
            else:
                with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
                    client.predict([1.0])

    for number in range(2):
        cycle(number)
    before, open_files = threads(), files()
    for number in range(4):
        cycle(number)
    wait_for(lambda: threads() <= before and files() <= open_files)


def test_an_unclosed_server_is_collected_with_its_relay():
    before = threads()
    ports, handles = [], []

    def forgotten():
        server = FakeServer().start()
        handles.append(server.faults.add(faults.Busy()))
        ports.extend(int(each.rpartition(":")[2]) for each in (server.target, server.rest_url))
        assert any(thread.name == "tfs-fake-relay" for thread in threads() - before)
        del server
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed server"):
        forgotten()
    wait_for(lambda: threads() <= before)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    assert handles[0].used == 0  # it outlives the server


def test_a_server_stops_although_a_client_does_not_read(monkeypatch):
    monkeypatch.setattr("tfs_client.testing.relay.loop.LAST_WRITES", 0.05)
    monkeypatch.setattr("tfs_client.server.rest.host.LAST_WRITES", 0.05)
    text, size = TensorSpec("string", (None,)), 32 << 20
    before = threads()  # another test's server may be ending
    server = FakeServer(ServerConfig(shutdown_grace=0)).start()
    server.add_model("m", lambda x: [b"y" * size], inputs={"x": text}, outputs={"y": text})
    port = int(server.rest_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        body = b'{"instances":["a"]}'
        client.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 19\r\n\r\n" + body)
        assert client.recv(1) == b"H"
        relays = [thread for thread in threads() - before if thread.name == "tfs-fake-relay"]
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < PATIENCE
        assert [thread.is_alive() for thread in relays] == [False]


@pytest.mark.parametrize("style", ["grpc-futures", "rest-futures"])
def test_a_stop_does_not_wait_for_throttled_replies(style):
    with doubling(FakeServer()) as server, calling(style, server, model="m", timeout=PATIENCE) as client:
        client.predict([1.0])
        assert server._ports.relay.throttle(server.calls[-1].peer, 100)
        late = client.client.predict_future({"x": np.zeros(100_000, np.float32)})
        wait_for(lambda: len(server._log._running) + len(server.calls) == 2)
        server.stop()
        assert len(late.result(PATIENCE).array) == 100_000


# --- forks -----------------------------------------------------------------------------------------------------------

LEFT_BEHIND = """
import os, sys
from tfs_client import ClosedError, NotFoundError, PredictClient
from tfs_client.server import Server, ServerConfig
from tfs_client.testing import FakeServer

for make in (lambda: FakeServer(strict=True), lambda: Server(ServerConfig(rest_port=0))):
    with make() as server:
        addresses = server.target, server.rest_url
        for code in (3, 4):
            if not (child := os.fork()):
                assert (server.target, server.rest_url) == addresses
                if code == 3:
                    sys.exit(code)  # leaves the block by an exception
                break
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        for address in addresses if child else ():
            with PredictClient(address, model="m", timeout=20) as client:
                try:
                    client.status()
                except NotFoundError:
                    print("answers")
    if not child:
        server.stop()
        try:
            server.start()
        except ClosedError as error:
            assert "the server was started before the fork" in str(error)
            sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_leaves_the_server_to_its_parent():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LEFT_BEHIND],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["answers"] * 4
    assert "Traceback" not in done.stderr
