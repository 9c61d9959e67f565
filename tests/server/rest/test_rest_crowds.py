"""Many clients over REST: they disconnect, stall, stay idle, or are too many. All tests use raw sockets."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import socket
import struct
import time

import numpy as np
import pytest
from gated_models import GatedModel

from tfs_client import ConfigError, TensorSpec
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.access.log_limit import OncePerSecond
from tfs_client.server.rest import rest_connection

VECTOR = TensorSpec("float32", (None,))
STRING = TensorSpec("string", (None,))
BODY = b'{"instances": [1.0]}'
STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
PREDICT = HEAD % len(BODY) + BODY


@pytest.fixture
def model():
    gated = GatedModel()
    yield gated
    gated.open.set()


@pytest.fixture
def connect(model):
    """Starts a server with the model when first called; opens a connection to it."""
    with contextlib.ExitStack() as stack:
        servers = []

        def opened(sent=b"", **options):
            if not servers:
                server = Server(ServerConfig(rest_port=0, shutdown_grace=0, **{"threads": 1, **options}))
                long = FunctionSignature(
                    lambda x: {"y": np.array([b"a" * 9_000_000], object)}, {"x": VECTOR}, {"y": STRING}
                )
                server.add_model("m", {"serving_default": FunctionSignature(model, {"x": VECTOR}, {"y": VECTOR})})
                server.add_model("long", {"serving_default": long})
                servers.append(stack.enter_context(server))
            host, _, port = servers[0].rest_url.removeprefix("http://").rpartition(":")
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            connection.sendall(sent)
            return connection

        yield opened
        model.open.set()


def everything(connection):
    """Everything that the server sends until it closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_after_shutdown(connection):
    connection.shutdown(socket.SHUT_WR)
    connection.close()


@pytest.mark.parametrize("hang_up", [socket.socket.close, reset, close_after_shutdown])
def test_calls_of_clients_that_hang_up_do_not_run(connect, model, hang_up):
    busy = connect(PREDICT)
    assert model.entered.wait(10)
    gone = [connect(PREDICT) for _ in range(20)]
    everyone_is_there(connect)
    for each in gone:
        hang_up(each)
    everyone_is_there(connect)
    good = connect(PREDICT)
    model.open.set()
    assert b" 200 " in busy.recv(1000)
    assert b" 200 " in good.recv(1000)
    assert model.runs == 2


def everyone_is_there(connect):
    """Wait until the server has noticed everything that has happened so far."""
    for _ in range(2):
        connection = connect(STATUS)
        assert connection.recv(1000)
        time.sleep(0.02)


@pytest.mark.parametrize("size", [len(BODY), 300_000])
def test_a_client_that_only_stops_sending_gets_its_reply(connect, model, size):
    half = connect(HEAD % size + BODY.ljust(size))
    half.shutdown(socket.SHUT_WR)
    assert model.entered.wait(10)
    model.open.set()
    answer = everything(half)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"]\n}")


def test_a_client_that_stops_sending_after_several_requests_gets_its_replies(connect, model):
    model.open.set()
    half = connect(PREDICT + STATUS + b"nonsense\r\n\r\n")
    half.shutdown(socket.SHUT_WR)
    assert re.findall(rb"HTTP/1.1 (\d+)", everything(half)) == [b"200", b"200", b"400"]


def test_an_incomplete_request_does_not_keep_a_connection_open(connect):
    for part in (b"", STATUS[:20], PREDICT[:-1]):
        half = connect(part)
        half.shutdown(socket.SHUT_WR)
        assert everything(half) == b""


@pytest.mark.parametrize(
    ("first", "drip", "answer"),
    [
        (b"", STATUS, b"HTTP/1.1 408 Request Timeout\r\n"),
        (STATUS + STATUS[:5], STATUS[5:-2], b"HTTP/1.1 408 Request Timeout\r\n"),
        (PREDICT[:-1], b"", b"HTTP/1.1 408 Request Timeout\r\n"),
        (HEAD % 1000, b" " * 50, b"HTTP/1.1 408 Request Timeout\r\n"),
        (HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked"), b"1\r\n \r\n" * 20, b"HTTP/1.1 408 "),
        (b"", b"", b""),
    ],
    ids=["head", "next-head", "end-of-body", "body", "chunks", "nothing"],
)
def test_a_slow_sender_gets_an_error_and_is_disconnected(connect, first, drip, answer):
    slow = connect(first, idle_timeout=0.3, rest_header_timeout=0.2, rest_body_timeout=0.2)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in drip:
            slow.sendall(bytes([byte]))
            time.sleep(0.02)
    assert answer in everything(slow)
    assert time.monotonic() - began < 5


def test_a_client_that_does_not_read_is_disconnected(connect):
    slow = connect(PREDICT.replace(b"models/m:", b"models/long:"), rest_write_timeout=0.1)
    assert slow.recv(10) == b"HTTP/1.1 2"
    time.sleep(0.4)
    assert len(everything(slow)) < 9_000_000


def test_a_slow_call_does_not_count_as_a_slow_connection(connect, model):
    quiet = connect(
        PREDICT, idle_timeout=0.05, rest_header_timeout=0.05, rest_body_timeout=0.05, rest_write_timeout=0.05
    )
    time.sleep(0.3)
    model.open.set()
    assert b" 200 " in everything(quiet)


def test_a_connection_beyond_the_maximum_gets_an_error(connect, model):
    first = connect(PREDICT, max_connections=1)
    assert model.entered.wait(10)
    answer = everything(connect(STATUS))
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in answer
    assert b"the server has too many connections" in answer
    model.open.set()
    assert b" 200 " in first.recv(1000)


def test_idle_connections_are_closed_for_new_ones(connect):
    idle = connect(max_connections=1)
    time.sleep(0.6)
    assert b" 404 " in connect(STATUS.replace(b"/m ", b"/n ")).recv(1000)
    assert everything(idle) == b""


def test_a_flood_of_pipelined_requests_waits_in_the_network(connect):
    flood = connect()
    flood.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1 << 26:
            sent += flood.send(PREDICT * 1000)
    assert sent < 1 << 25


def test_all_pipelined_requests_are_answered(connect):
    last = STATUS.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert everything(connect(STATUS * 300 + last)).count(b"HTTP/1.1 200 OK") == 301


def test_events_caused_by_clients_are_logged_at_most_once_a_second(connect, caplog, monkeypatch):
    monkeypatch.setattr(rest_connection.log, "filters", [OncePerSecond()])  # which has seen no other test's events
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert b" 400 " in everything(connect(b"nonsense\r\n\r\n"))
    assert 1 <= len(caplog.records) <= 3


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux does")
def test_when_files_run_out_idle_connections_end_and_the_log_stays_short(connect, caplog):
    import resource

    address = connect().getpeername()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.socket()) for _ in range(40)]
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
        fillers = []
        with contextlib.suppress(OSError):
            while True:
                fillers.append(stack.enter_context(open(os.devnull)))
        for each in fillers[-4:]:
            each.close()
        with caplog.at_level(logging.WARNING):
            for each in crowd[:-1]:
                each.connect(address)
            time.sleep(1)
            good = crowd[-1]
            good.settimeout(10)
            good.connect(address)
            good.sendall(STATUS)
            assert good.recv(1000).startswith((b"HTTP/1.1 200 OK", b"HTTP/1.1 503 "))
    assert "Too many open files" in caplog.text
    assert len(caplog.records) <= 6


@pytest.mark.parametrize(
    "bad",
    [
        {"max_connections": 0},
        {"max_connections": True},
        {"max_waiting_calls": 1.5},
        {"idle_timeout": 0},
        {"grpc_body_timeout": 0},
        {"rest_header_timeout": -1},
        {"rest_body_timeout": "30"},
        {"rest_write_timeout": math.nan},
    ],
)
def test_invalid_bounds_are_refused(bad):
    (name,) = bad
    with pytest.raises(ConfigError, match=f"expected {name} "):
        ServerConfig(**bad)
