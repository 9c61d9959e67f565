"""The REST port of a server: opening, serving, an orderly stop, and no leftovers."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tcp import free_port

import tfs_client
from tfs_client import ClosedError, ConfigError, StatusCode, TensorSpec
from tfs_client.errors import CancelledError, DeadlineExceededError, NotFoundError, ResourceExhaustedError
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
STRING = TensorSpec("string", ())
DOUBLE = {"serving_default": FunctionSignature(lambda x: 2 * x, {"x": VECTOR}, {"y": VECTOR})}
SLOW = "/v1/models/slow:predict"
BODY = {"instances": [5.0]}


def rest_server(**options):
    return Server(ServerConfig(rest_port=0, **options))


def address(url):
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_a_server_has_a_url_and_responds_at_once():
    with rest_server() as server:
        server.add_model("double", DOUBLE)
        assert server.rest_url.startswith("http://127.0.0.1:")
        response = httpx.post(f"{server.rest_url}/v1/models/double:predict", json=BODY)
        assert response.json() == {"predictions": [10]}


def test_without_rest_the_error_says_how_to_enable_it():
    with Server() as server, pytest.raises(ConfigError, match=r"ServerConfig\(rest_port=0\)"):
        _ = server.rest_url


def test_a_server_that_is_not_running_has_no_url():
    server = rest_server()
    for _ in range(2):
        with pytest.raises(ClosedError, match="not running"):
            _ = server.rest_url
        server.start()
        assert httpx.get(f"{server.rest_url}/v1/models/m").status_code == 404
        server.stop()


def test_a_port_can_be_chosen_and_is_free_again_after_the_stop():
    port = free_port()
    for _ in range(3):
        with Server(ServerConfig(rest_port=port)) as server:
            assert server.rest_url == f"http://127.0.0.1:{port}"
            assert httpx.get(f"{server.rest_url}/v1/models/m").status_code == 404


def test_a_taken_port_is_a_config_error_and_leaves_nothing_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(ServerConfig(rest_port=port))
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port} for REST"):
            server.start()
    with pytest.raises(ClosedError):
        _ = server.target
    gc.collect()  # a server that still runs would warn


def test_a_host_may_be_a_name_or_an_ipv6_address():
    with rest_server(host="localhost") as server:
        assert server.rest_url.startswith("http://localhost:")
        assert httpx.get(f"{server.rest_url}/v1/models/m").status_code == 404
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        with rest_server(host="::1") as server:
            assert server.rest_url.startswith("http://[::1]:")
            assert httpx.get(f"{server.rest_url}/v1/models/m").status_code == 404


# --- stopping --------------------------------------------------------------------------------------------------------


def rest_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("tfs-serve-rest")}


def test_stopping_leaves_no_threads_and_ignores_idle_connections():
    before = rest_threads()
    with httpx.Client() as http, rest_server() as server:
        assert http.get(f"{server.rest_url}/v1/models/m").status_code == 404
        assert len(rest_threads() - before) == 2
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
    for thread in rest_threads() - before:
        thread.join(10)
    assert not rest_threads() - before


def test_stopping_lets_running_calls_finish_and_refuses_new_ones(gate):
    with FakeServer() as server, ThreadPoolExecutor(2) as pool:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        url = server.rest_url
        running = pool.submit(httpx.post, url + SLOW, json=BODY, timeout=20)
        assert gate.entered.wait(10)
        stopping = pool.submit(server.stop)
        end = time.monotonic() + 10
        refused = False
        while not refused and time.monotonic() < end:
            try:
                socket.create_connection(address(url), 1).close()
                time.sleep(0.005)
            except OSError:
                refused = True
        assert refused
        assert not running.done()
        assert not stopping.done()
        gate.open.set()
        assert running.result(10).json() == {"predictions": [5]}
        assert running.result().headers["connection"] == "close"
        stopping.result(10)


def test_the_grace_is_a_limit(gate):
    server = FakeServer(ServerConfig(shutdown_grace=0.1, rest_timeout=0)).start()
    server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(httpx.post, server.rest_url + SLOW, json=BODY, timeout=20)
        assert gate.entered.wait(10)
        started = time.monotonic()
        server.stop()
        assert 0.05 < time.monotonic() - started < 5
        response = running.result(10)
    assert (response.status_code, response.json()) == (503, {"error": "the server has stopped"})
    (call,) = server.calls
    assert (call.code, call.transport) == (StatusCode.UNAVAILABLE, "rest")


def test_an_incomplete_request_does_not_delay_the_stop():
    with rest_server(shutdown_grace=60) as server, ExitStack() as stack:
        body, head = (stack.enter_context(socket.create_connection(address(server.rest_url))) for _ in range(2))
        body.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{")
        head.sendall(b"GET /v1/mod")
        httpx.get(f"{server.rest_url}/v1/models/m")  # by now both have been read
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
        assert body.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_client_that_does_not_read_does_not_delay_the_stop():
    big = {"serving_default": FunctionSignature(lambda x: b"x" * 30_000_000, {"x": VECTOR}, {"y": STRING})}
    with rest_server(shutdown_grace=0.05, threads=1) as server:
        server.add_model("big", big)
        with socket.create_connection(address(server.rest_url)) as connection:
            body = b'{"inputs": [1]}'
            head = f"POST /v1/models/big:predict HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body)
            assert connection.recv(10)
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 8


def test_stopping_again_is_harmless_even_from_several_threads():
    server = rest_server()
    server.stop()
    server.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: server.stop(), range(4)))
    server.stop()


def test_an_unclosed_server_warns_and_ends():
    before = rest_threads()

    def forget():
        server = rest_server()
        server.start()
        httpx.get(f"{server.rest_url}/v1/models/m")

    def forgotten():
        forget()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed server at port"):
        forgotten()
    for thread in rest_threads() - before:
        thread.join(10)
    assert not rest_threads() - before


def test_signal_handlers_are_unchanged():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with rest_server():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_logging_is_unchanged(caplog):
    import logging

    before = logging.getLogger("uvicorn.access").propagate, logging.getLogger("uvicorn.error").level
    with rest_server() as server, caplog.at_level(logging.INFO):
        httpx.get(f"{server.rest_url}/v1/models/m")
    assert not [record for record in caplog.records if record.name.startswith(("uvicorn", "tfs_client"))]
    assert (logging.getLogger("uvicorn.access").propagate, logging.getLogger("uvicorn.error").level) == before


def exchanged(request):
    """Everything that a server sends until it closes the connection."""
    with rest_server() as server, socket.create_connection(address(server.rest_url), 20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_headers_may_have_256_kibibytes():
    head = b"GET /v1/models/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: "
    assert exchanged(head.ljust(256 << 10, b"x")[:-4] + b"\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert exchanged(head.ljust((256 << 10) + 1, b"x")).startswith(b"HTTP/1.1 400 ")


def test_a_connection_of_http_1_0_ends_with_the_answer():
    head, _, body = exchanged(b"GET /v1/models/m HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").partition(b"\r\n\r\n")
    assert b"\r\ndate: " in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head + b"\r\n"


def test_the_answer_to_head_has_a_length_and_no_body():
    answer = exchanged(b"HEAD /v1/models/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\ncontent-length: " in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_line",
    [b"nonsense", b"GET /v1/models/m HTTP/2.0", b"GET /v1/%zz HTTP/1.1\r\nHost: h", b"GET /v1/[ HTTP/1.1\r\nHost: h"],
)
def test_invalid_http_gets_a_page(request_line):
    received = exchanged(request_line + b"\r\nHost: h\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.endswith(b"<H1>Bad Request</H1>\n</BODY></HTML>\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ResourceExhaustedError, b"429 Client Error"),
        (CancelledError, b"499 Client Error"),
        (DeadlineExceededError, b"504 Gateway Time-out"),
        (NotFoundError, b"404 Not Found"),
    ],
)
def test_a_reply_is_sent_at_once_with_the_model_servers_reason_phrase(error, line):
    def fail(x):
        raise error("no")

    with rest_server() as server, socket.create_connection(address(server.rest_url)) as connection:
        server.add_model("f", {"serving_default": FunctionSignature(fail, {"x": VECTOR}, {"y": VECTOR})})
        body = b'{"instances": [1]}'
        connection.sendall(b"POST /v1/models/f:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 18\r\n\r\n" + body)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 " + line + b"\r\n")
    assert received.endswith(b'"error": "no"\n}')


def test_an_upgrade_is_ignored_and_not_logged(caplog):
    with rest_server() as server:
        headers = {"connection": "upgrade", "upgrade": "websocket"}
        assert httpx.get(f"{server.rest_url}/v1/models/m", headers=headers).status_code == 404
    assert not caplog.records


def test_requests_may_be_pipelined():
    with rest_server() as server, socket.create_connection(address(server.rest_url)) as connection:
        request = b"GET /v1/models/m HTTP/1.1\r\nHost: h\r\n"
        connection.sendall((request + b"\r\n") * 2 + request + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 404 ") == 3


def test_a_client_that_expects_100_continue_gets_it():
    with rest_server() as server, socket.create_connection(address(server.rest_url)) as connection:
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n"
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 404 ")


# --- the packages ----------------------------------------------------------------------------------------------------


def printed(code):
    """The output of a fresh interpreter."""
    environment = os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_packages_for_rest_are_imported_on_demand_and_missing_ones_are_named():
    code = """
import sys
from tfs_client.errors import ConfigError
from tfs_client.server import Server, ServerConfig
from tfs_client.testing import FakeServer
with FakeServer() as server:
    print(sorted({"starlette", "uvicorn", "orjson"} & set(sys.modules)))
    sys.modules["uvicorn"] = None
    try:
        server.rest_url
    except ConfigError as error:
        print(error)
    print(server.target.partition(":")[0])
try:
    Server(ServerConfig(rest_port=0)).start()
except ConfigError as error:
    print(error)
"""
    message = "REST needs the package uvicorn: pip install 'tfs-client[server]'"
    assert printed(code).splitlines() == ["[]", message, "127.0.0.1", message]


@pytest.mark.parametrize(
    "options",
    [
        {"rest_port": -1},
        {"rest_port": 65536},
        {"rest_port": "8501"},
        {"rest_port": True},
        {"rest_port": 8500, "port": 8500},
        {"rest_timeout": "soon"},
        {"rest_timeout": None},
        {"rest_timeout": float("nan")},
        {"rest_cors": "yes"},
        {"rest_max_body": 0},
        {"rest_max_body": 1.5},
        {"rest_max_body": None},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        ServerConfig(**options)
