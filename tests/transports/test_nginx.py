"""nginx in front of the server, a common setup: TLS ends there, gRPC continues to the server behind it.

nginx is the one on PATH, or the one in the folder that TFS_NGINX names; scripts/fetch_nginx.sh fetches one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from calling import calling
from certificates import certificates
from scripted import MODEL, serving, target_of
from tcp import nobody

from tfs_client import TLS, RetryPolicy, UnavailableError
from tfs_client.errors import BY_CODE, StatusCode

pytestmark = pytest.mark.peer

X = {"x": [1.0]}
TRUSTING = TLS(ca=certificates().ca)

CONFIG = """
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {home}/server.pem;
        ssl_certificate_key {home}/server.pem;
        client_max_body_size {limit};
        location / {{ {passing} }}
    }}
}}
"""


def executable() -> str:
    folder = os.environ.get("TFS_NGINX")
    found = shutil.which("nginx", path=folder) if folder else shutil.which("nginx")
    assert found, "no nginx on PATH; scripts/fetch_nginx.sh fetches one, and TFS_NGINX names the folder it is in"
    return found


@contextlib.contextmanager
def nginx(home: Path, passing: str, limit: str = "0") -> Iterator[int]:
    """Run nginx with its own prefix; return its port."""
    with nobody() as port:
        pass
    own = certificates().server
    (home / "server.pem").write_bytes(own.certificate + own.key)
    config = home / "nginx.conf"
    config.write_text(CONFIG.format(home=home, port=port, passing=passing, limit=limit))
    process = subprocess.Popen(
        [executable(), "-p", str(home), "-c", str(config), "-e", str(home / "error.log")], stderr=subprocess.DEVNULL
    )
    try:
        wait_until_open(port, process)
        yield port
    finally:
        process.terminate()  # the master, which ends its worker
        process.wait(20)


def wait_until_open(port: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 20
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < until, "nginx does not listen"
        time.sleep(0.02)
    raise AssertionError(f"nginx ended with {process.returncode}")


def to_grpc(port: int) -> str:
    return f"grpc_pass grpc://127.0.0.1:{port};"


def to_rest(port: int) -> str:
    return f"proxy_pass http://127.0.0.1:{port};"


@contextlib.contextmanager
def client_of(style: str, port: int, **options) -> Iterator[object]:
    target = target_of(style, port, secure=True)
    with calling(style, target, model=MODEL, tls=TRUSTING, **{"timeout": 20, **options}) as client:
        yield client


@pytest.fixture(params=["grpc", "grpc-futures", "grpc-aio", "rest", "rest-aio"])
def style(request):
    return request.param


@pytest.fixture
def passing(style):
    """The line with which nginx passes calls of a style on to a port."""
    return to_rest if style.startswith("rest") else to_grpc


def test_calls_go_through(style, passing, tmp_path):
    with (
        serving(style) as server,
        nginx(tmp_path, passing(server.port)) as port,
        client_of(style, port, token="secret") as client,
    ):
        for _ in range(5):
            assert client.predict(X).array.tolist() == [2]
        assert {call.metadata["authorization"] for call in server.calls} == {"Bearer secret"}


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_a_large_tensor_goes_through(style, passing, tmp_path):
    with (
        serving(style) as server,
        nginx(tmp_path, passing(server.port)) as port,
        client_of(style, port) as client,
    ):
        client.predict({"x": np.ones(1_250_000, np.float32)})
        assert server.calls[0].size > 5_000_000


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_replicas_behind_nginx_share_the_calls(style, passing, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        serving(style) as server,
        nginx(tmp_path / "one", passing(server.port)) as one,
        nginx(tmp_path / "two", passing(server.port)) as two,
        calling(
            style, [f"localhost:{one}", f"127.0.0.1:{two}"], model=MODEL, tls=TRUSTING, retry=RetryPolicy()
        ) as client,
    ):
        for _ in range(10):
            assert client.predict(X).array.tolist() == [2]


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_a_request_that_nginx_finds_too_large_names_its_setting(style, passing, tmp_path):
    """gRPC before 1.61 or so does not accept the page as gRPC, and does not report its status."""
    with (
        serving(style) as server,
        nginx(tmp_path, passing(server.port), limit="1m") as port,
        client_of(style, port) as client,
    ):
        with pytest.raises(tuple(BY_CODE[code] for code in (StatusCode.UNKNOWN, StatusCode.UNAVAILABLE))) as caught:
            client.predict({"x": np.ones(1_250_000, np.float32)})
        assert not server.calls
    assert re.search("client_max_body_size|proxy or gateway", caught.value.hint)


def test_a_server_that_is_down_behind_nginx_is_unavailable(style, passing, tmp_path):
    with (
        nobody() as down,
        nginx(tmp_path, passing(down)) as port,
        client_of(style, port) as client,
        pytest.raises((UnavailableError, BY_CODE[StatusCode.UNKNOWN])) as caught,
    ):
        client.predict(X)
    assert "server behind it" in caught.value.hint


def test_a_call_is_retried_until_the_server_behind_nginx_is_back(style, passing, tmp_path):
    with nobody() as down:
        pass
    policy = RetryPolicy(initial_backoff=0.2, multiplier=3.0)
    with (
        nginx(tmp_path, passing(down)) as port,
        client_of(style, port, retry=policy) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(lambda: client.predict(X).array.tolist())
        wait_until_tried(tmp_path / "error.log")
        with serving(style, port=down):
            assert answer.result(20) == [2]


def wait_until_tried(log: Path) -> None:
    """Wait until nginx has not reached the server behind it."""
    until = time.monotonic() + 20
    while "connect() failed" not in log.read_text():
        assert time.monotonic() < until, "nginx did not try"
        time.sleep(0.01)


def test_a_stopped_nginx_is_unavailable(style):
    with (
        nobody() as port,
        client_of(style, port) as client,
        pytest.raises(UnavailableError, match="is the server running"),
    ):
        client.predict(X)
