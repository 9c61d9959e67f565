"""Server: opening the port, serving, and an orderly stop."""

from __future__ import annotations

import gc
import logging
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tcp import free_port

from tfs_client import ClosedError, ConfigError, PredictClient, TensorSpec, UnavailableError
from tfs_client.server import FunctionSignature, Platforms, Server, ServerConfig
from tfs_client.server.server import LONGEST
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
DOUBLE = {"serving_default": FunctionSignature(lambda x: 2 * x, {"x": VECTOR}, {"y": VECTOR})}


def test_a_server_answers_once_entered_and_gives_its_target():
    with Server() as server:
        server.add_model("double", DOUBLE)
        assert server.target == f"127.0.0.1:{server.port}"
        with PredictClient(server.target, model="double") as client:
            assert client.predict([1.0]).array.tolist() == [2]


def test_models_may_be_added_before_the_start():
    server = Server()
    server.add_model("double", DOUBLE, version=3)
    with server, PredictClient(server.target, model="double") as client:
        assert client.predict([1.0]).model.version == 3


def test_starting_twice_is_once():
    with Server() as server:
        port = server.port
        server.start()
        assert server.port == port


def test_a_server_that_is_not_running_has_no_target():
    server = Server()
    for _ in range(2):
        for ask in (lambda: server.target, lambda: server.port):
            with pytest.raises(ClosedError, match="not running"):
                ask()
        server.start()
        assert server.target
        server.stop()


def test_a_taken_port_is_a_config_error():
    with (
        Server() as first,
        pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{first.port}: Address already in use"),
    ):
        Server(ServerConfig(port=first.port)).start()


def test_an_address_of_another_machine_is_a_config_error():
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1:0: Cannot assign requested address"):
        Server(ServerConfig(host="192.0.2.1")).start()


def test_stopping_lets_running_calls_finish_and_refuses_new_ones(gate):
    with FakeServer() as server, ThreadPoolExecutor(1) as pool:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        target = server.target
        with PredictClient(target, model="slow") as client:
            running = client.predict_future({"x": [5.0]})
            assert gate.entered.wait(10)
            stopping = pool.submit(server.stop)
            with PredictClient(target, model="slow") as late:
                end = time.monotonic() + 10
                while late.is_ready(timeout=1) and time.monotonic() < end:
                    time.sleep(0.01)
                with pytest.raises(UnavailableError):
                    late.predict({"x": [1.0]}, timeout=5)
            with pytest.raises(UnavailableError):
                client.predict({"x": [1.0]}, timeout=5)
            assert not running.done()
            assert not stopping.done()
            gate.open.set()
            assert running.result(10).array.tolist() == [5]
            stopping.result(10)


def test_the_grace_is_a_limit(gate):
    server = FakeServer(ServerConfig(shutdown_grace=0.2)).start()
    server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with PredictClient(server.target, model="slow") as client:
        running = client.predict_future({"x": [5.0]})
        assert gate.entered.wait(10)
        started = time.monotonic()
        server.stop()
        assert 0.1 < time.monotonic() - started < 5
        assert running.exception(10) is not None


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("grace", [math.inf, 1e10])
def test_the_grace_may_have_no_limit(gate, grace, transport):
    server = FakeServer(ServerConfig(shutdown_grace=grace, rest_port=0)).start()
    server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    target = server.target if transport == "grpc" else server.rest_url
    with PredictClient(target, model="slow") as client, ThreadPoolExecutor(1) as pool:
        running = client.predict_future({"x": [5.0]})
        assert gate.entered.wait(10)
        stopping = pool.submit(server.stop)
        gate.open.set()
        stopping.result(10)
        assert running.result(10).array.tolist() == [5]


@pytest.mark.parametrize("seconds", [math.inf, 1e10])
def test_the_drain_may_be_infinite(monkeypatch, seconds):
    with Server(ServerConfig(drain_seconds=seconds)):
        pauses = []
        monkeypatch.setattr(time, "sleep", pauses.append)
    assert LONGEST in pauses


def test_packages_for_rest_are_checked_before_anything_answers(monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "tfs_client.server.rest.host", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with caplog.at_level(logging.INFO), pytest.raises(ConfigError, match="REST needs the package uvicorn"):
        Server(ServerConfig(rest_port=0)).start()
    assert not caplog.messages


def test_stopping_again_is_harmless_even_from_several_threads():
    server = Server()
    server.stop()
    server.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: server.stop(), range(4)))
    server.stop()


def test_a_stopped_server_frees_its_port_and_may_start_again():
    port = free_port()
    with Server(ServerConfig(port=port)) as first:
        assert first.port == port
    with Server(ServerConfig(port=port)) as second:
        assert second.port == port
    first.add_model("double", DOUBLE)
    with first, PredictClient(first.target, model="double") as client:
        assert client.predict([1.0]).array.tolist() == [2]


def serving_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tfs-serve")]


def test_a_stopped_server_leaves_no_threads():
    before = set(serving_threads())
    with FakeServer() as server:
        server.add_model("double", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with PredictClient(server.target, model="double") as client:
            client.predict([1.0])
        assert set(serving_threads()) - before
    end = time.monotonic() + 10
    while set(serving_threads()) - before and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert not set(serving_threads()) - before


@pytest.mark.parametrize("kind", [Server, FakeServer])
def test_a_forgotten_server_warns(kind):
    def forget():
        kind().start()

    def forgotten():
        forget()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed server at port"):
        forgotten()


def test_a_server_that_never_started_does_not_warn():
    Server()
    gc.collect()  # warnings are errors here


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1},
        {"port": 65536},
        {"port": "8500"},
        {"threads": 0},
        {"threads": "many"},
        {"shutdown_grace": -1},
        {"shutdown_grace": float("nan")},
        {"shutdown_grace": "soon"},
        {"channel_arguments": {"grpc.max_receive_message_length": 1.5}},
        {"channel_arguments": {"grpc.max_receive_message_length": 1 << 40}},
        {"channel_arguments": {"grpc.max_receive_message_length": "abc"}},
        {"channel_arguments": {"grpc.http2.max_ping_strikes": "1.5"}},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        ServerConfig(**options)


def test_arguments_of_other_types_are_refused():
    for config in ("models.config", {"port": 0}):
        with pytest.raises(ConfigError, match=r"expected config=ServerConfig\(\.\.\.\), got"):
            Server(config)
    with Platforms() as platforms, pytest.raises(ConfigError, match=r"as Platforms\(\)\.loads, got <tfs_client"):
        Server(platforms=platforms)


@pytest.mark.parametrize("rest", ["", "server.rest_url"])
def test_a_program_that_forgets_its_server_ends(rest):
    program = f"from tfs_client.testing import FakeServer\nserver = FakeServer().start()\n{rest}"
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
