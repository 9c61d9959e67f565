"""What happens to a call whose caller goes away, behind uvicorn and a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest
import uvicorn
from digit_models import add_digits, brightest_row, picture
from digit_service.app import create_app
from digit_service.settings import Settings

LIMIT = 20  # seconds for what takes less than one on an idle machine


@pytest.fixture
def slow_model(fake_server):
    """A fake model that answers once it is released: the server, and the events of entry and release."""
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(LIMIT)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    yield fake_server, entered, release
    release.set()


@pytest.fixture
def address(slow_model):
    """The address of the service under uvicorn."""
    settings = Settings(target=slow_model[0].target, timeout=LIMIT, max_waiting=1)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join(LIMIT)
        assert not thread.is_alive()


def post(path: str, document: object) -> bytes:
    """The bytes of a request that the server closes its connection after."""
    body = json.dumps(document).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def metrics(address: tuple[str, int]) -> str:
    """The page of metrics."""
    return exchange(address, b"GET /metrics HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n").decode()


def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """Send a request and read the whole reply."""
    with socket.create_connection(address, LIMIT) as connection, connection.makefile("rb") as reply:
        connection.sendall(request)
        return reply.read()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail if it takes too long."""
    ends = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["/v1/digits", "/v1/versions/1/digits"])
def test_a_caller_who_leaves_makes_room_for_the_next(slow_model, address, path):
    _, entered, release = slow_model
    with socket.create_connection(address, LIMIT) as connection:
        connection.sendall(post(path, picture(3)))
        assert entered.wait(LIMIT)
        assert exchange(address, post(path, picture(4))).startswith(b"HTTP/1.1 429 ")

    wait_until(lambda: 'status="499"} 1.0' in metrics(address))
    assert "digits_waiting 0.0" in metrics(address)
    release.set()
    assert b'"digit":4' in exchange(address, post(path, picture(4)))


def test_the_call_of_a_caller_who_leaves_is_cancelled(slow_model, address):
    """A shared call is not: it has other rows, or might have."""
    server, entered, _ = slow_model
    with socket.create_connection(address, LIMIT) as connection:
        connection.sendall(post("/v1/versions/1/digits", picture(3)))
        assert entered.wait(LIMIT)
    wait_until(lambda: server.calls)
    assert server.calls[0].code.name == "CANCELLED"
