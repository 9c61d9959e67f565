"""Clients that start gRPC calls and do not send the requests: everybody else is answered, and those calls end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from gated_models import CountedModel
from tcp import DATA, END_HEADERS, HEADERS, RST_STREAM, SETTINGS, frame, request_head

from tfs_client import PredictClient, TensorSpec, UnavailableError
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.thread_pool import MAX_LENT

VECTOR = TensorSpec("float32", (None,))
ONE = {"x": np.float32([1])}
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
HEALTH = "/grpc.health.v1.Health/Check"
GRPC = tuple(map(int, grpc.__version__.split(".")[:2]))
PART = b"\0\0\0\1\0part"  # of a message of 256 bytes


@contextlib.contextmanager
def half_open(port, number, path, data=b""):
    """A connection with so many calls whose requests are missing, or begin with ``data``."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        calls = b"".join(
            frame(HEADERS, END_HEADERS, 2 * each + 1, request_head(path))
            + (data and frame(DATA, 0, 2 * each + 1, data))
            for each in range(number)
        )
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + calls)
        yield connection


def ended(connection, number):
    """Wait until so many calls have ended."""
    received, streams = b"", set()
    while len(streams) < number:
        while len(received) < 9 or len(received) < 9 + int.from_bytes(received[:3], "big"):
            data = connection.recv(1 << 16)
            assert data, "the connection is closed"
            received += data
        if received[3] in (HEADERS, RST_STREAM):
            streams.add(received[5:9])
        received = received[9 + int.from_bytes(received[:3], "big") :]


@contextlib.contextmanager
def serving(model=lambda x: {"y": x}, **options):
    config = ServerConfig(shutdown_grace=0, enable_grpc_healthcheck_service=True, **options)
    with Server(config) as server:
        server.add_model("m", {"serving_default": FunctionSignature(model, {"x": VECTOR}, {"y": VECTOR})})
        yield server


@pytest.fixture(scope="module")
def server():
    with serving(threads=2) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with PredictClient(server.target, model="m", timeout=10) as client:
        yield client


@pytest.mark.parametrize("data", [b"", PART])
@pytest.mark.parametrize("path", [PREDICT, STATUS, HEALTH])
def test_calls_without_requests_do_not_block_others(server, client, path, data):
    with half_open(server.port, 8, path, data):
        time.sleep(0.05)
        assert client.predict(ONE).array.tolist() == [1]
        assert client.status()
        assert client.health()


def test_calls_without_requests_end_in_time():
    with serving(threads=2, grpc_body_timeout=0.2) as server:
        began = time.monotonic()
        with half_open(server.port, 12, PREDICT, PART) as one, half_open(server.port, 3, RELOAD) as other:
            ended(one, 12)
            ended(other, 3)
        assert 0.2 <= time.monotonic() - began < 5
        with PredictClient(server.target, model="m", timeout=10) as client:
            assert client.predict(ONE).array.tolist() == [1]


def test_more_calls_without_requests_than_threads_that_can_be_lent(monkeypatch):
    monkeypatch.setattr("tfs_client.server.grpc.arrivals.LEAST", 0.2)
    with serving(threads=8) as server, half_open(server.port, 2 * MAX_LENT, PREDICT):
        time.sleep(0.05)
        with PredictClient(server.target, model="m", timeout=10) as client:
            assert client.predict(ONE).array.tolist() == [1]


def test_slow_requests_are_answered_and_no_more_models_run_than_there_are_threads():
    model = CountedModel(0.02)
    sent = threading.Event()

    def slowly(request):
        sent.wait(10)
        yield request

    with serving(model, threads=2) as server, PredictClient(server.target, model="m", timeout=10) as client:
        request = predict_messages.write_request(ModelSpec("m"), ONE)
        with grpc.insecure_channel(server.target) as channel:
            method = channel.stream_unary(PREDICT)
            slow = [method.future(slowly(request), timeout=10) for _ in range(8)]
            time.sleep(0.4)
            quick = [client.predict_future(ONE) for _ in range(8)]
            sent.set()
            assert all(each.result(10) for each in slow)
            assert [each.result(10).array.tolist() for each in quick] == [[1]] * 8
    assert model.most == 2


def test_a_call_cancelled_before_its_request_arrives_leaves_no_trace(server, client, caplog, capfd):
    with caplog.at_level(logging.DEBUG), half_open(server.port, 4, PREDICT) as connection:
        time.sleep(0.15)
        connection.sendall(b"".join(frame(RST_STREAM, 0, 2 * each + 1, bytes([0, 0, 0, 8])) for each in range(4)))
        assert client.predict(ONE).array.tolist() == [1]
        time.sleep(0.05)
    assert not [record for record in caplog.records if record.name.startswith(("grpc", "tfs_client.server"))]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(GRPC < (1, 64), reason="older versions do not limit connections")
def test_beyond_the_maximum_of_connections_new_ones_are_closed():
    with serving(max_connections=1) as server, PredictClient(server.target, model="m", timeout=20) as first:
        assert first.predict(ONE).array == 1
        second = PredictClient(server.target, model="m", timeout=20, retry=None)
        with second, pytest.raises(UnavailableError):
            second.predict(ONE)
        assert first.predict(ONE).array == 1


@pytest.mark.parametrize("path", [PREDICT, STATUS, HEALTH])
def test_a_stream_without_a_request_is_refused_like_any_call_without_one(server, path):
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(path)(iter([]), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert f"{path}'\" requires exactly one request message." in caught.value.details()
