"""gRPC's health service, and how a server leaves: first it says so, then it goes."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from plain_client import Plain
from tcp import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, request_head

from tfs_client import Health, NotFoundError, PredictClient, TensorSpec
from tfs_client._codec import wire
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.grpc.health import reply_of, service_of

ONE = {"serving_default": FunctionSignature(lambda: 1, {}, {"y": TensorSpec("int32", ())})}
HEALTHY = ServerConfig(enable_grpc_healthcheck_service=True)
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


@pytest.fixture(scope="module")
def served():
    """A plain client of a server that offers the service."""
    with Server(HEALTHY) as server:
        plain = Plain(server.target)
        yield plain
        plain.channel.close()


def test_every_offered_service_is_healthy():
    with Server(HEALTHY) as server, PredictClient(server.target) as client:
        for service in ("", "ModelService", "PredictionService"):
            assert client.health(service) is Health.SERVING
        with pytest.raises(NotFoundError, match="service name unknown"):
            client.health("tensorflow.serving.PredictionService")


def test_the_health_service_is_offered_only_if_enabled(connect, refused):
    with Server() as server:
        assert refused(connect(server.target).raw, CHECK, b"")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (wire.delimited(1, b"n" * 200), "NOT_FOUND", "service name unknown"),
        (wire.delimited(1, b"n" * 201), "INVALID_ARGUMENT", "could not parse request"),
        (b"\xff\xff", "INVALID_ARGUMENT", "could not parse request"),
    ],
)
def test_a_check_is_refused_with_the_model_servers_code_and_text(served, refused, request_bytes, code, text):
    assert refused(served.raw, CHECK, request_bytes) == (code, text)


def test_messages_on_the_wire():
    assert service_of(b"") == ""
    assert service_of(wire.delimited(1, b"a") + b"\x10\x05" + wire.delimited(1, b"b")) == "b"
    assert reply_of(Health.SERVING) == b"\x08\x01"
    assert reply_of(Health.NOT_SERVING) == b"\x08\x02"


def test_a_draining_server_reports_it_and_still_serves():
    server = Server(ServerConfig(enable_grpc_healthcheck_service=True, drain_seconds=0.5))
    server.add_model("m", ONE)
    server.start()
    with PredictClient(server.target, model="m", retry=None) as client, ThreadPoolExecutor(1) as pool:
        assert client.health() is Health.SERVING
        stopping = pool.submit(server.stop)
        end = time.monotonic() + 10
        while client.health() is Health.SERVING:
            assert time.monotonic() < end
        assert not stopping.done()
        assert client.predict({}).array == 1
        stopping.result(10)


# --- Watch -----------------------------------------------------------------------------------------------------------


def watched(plain, service=b""):
    return plain.channel.unary_stream(WATCH)(wire.delimited(1, service), timeout=20)


def test_a_watch_sends_the_status_at_once_and_each_change_until_the_server_stops(connect):
    server = Server(ServerConfig(enable_grpc_healthcheck_service=True, drain_seconds=0.2))
    server.start()
    plain = connect(server.target)
    streams = [watched(plain, service) for service in (b"", b"ModelService", b"PredictionService")]
    assert [next(stream) for stream in streams] == [reply_of(Health.SERVING)] * 3
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(server.stop)
        assert [next(stream) for stream in streams] == [reply_of(Health.NOT_SERVING)] * 3
        late = watched(plain)
        assert next(late) == reply_of(Health.NOT_SERVING)
        began = time.monotonic()
        for stream in (*streams, late):
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert (caught.value.code().name, caught.value.details()) == ("UNAVAILABLE", "the server is stopping")
        stopping.result(10)
        assert time.monotonic() - began < 5  # of a grace of 10 seconds


def test_a_watch_of_an_unknown_service_stays_open(served):
    stream = watched(served, b"nope")
    assert next(stream) == reply_of(Health.SERVICE_UNKNOWN)
    assert stream.is_active()
    stream.cancel()


@pytest.mark.parametrize("request_bytes", [b"\xff\xff", wire.delimited(1, b"n" * 201)])
def test_a_watch_that_cannot_be_read_ends(served, request_bytes):
    with pytest.raises(grpc.RpcError) as caught:
        next(served.channel.unary_stream(WATCH)(request_bytes, timeout=10))
    assert (caught.value.code().name, caught.value.details()) == ("INTERNAL", "could not parse request")


def test_hundreds_of_watches_hold_no_threads(served):
    streams = [watched(served) for _ in range(400)]
    assert {next(stream) for stream in streams} == {reply_of(Health.SERVING)}
    assert sum(thread.name.startswith("tfs-serve-health") for thread in threading.enumerate()) <= 2
    for stream in streams:
        stream.cancel()


def test_a_service_has_a_limit_of_open_streams(served, monkeypatch):
    monkeypatch.setattr("tfs_client.server.grpc.streams.MAX_STREAMS", 2)
    kept, left = watched(served), watched(served)
    assert next(kept) == next(left) == reply_of(Health.SERVING)
    with pytest.raises(grpc.RpcError) as caught:
        next(watched(served))
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"
    left.cancel()
    end = time.monotonic() + 10
    while True:
        try:
            assert next(watched(served)) == reply_of(Health.SERVING)
            break
        except grpc.RpcError:
            assert time.monotonic() < end
    kept.cancel()


def test_watchers_that_do_not_read_do_not_delay_others(connect):
    """Their connections take no messages: HTTP/2 lets a client set the window of its streams to zero."""
    with ExitStack() as stack:
        server = Server(HEALTHY)
        server.start()
        stack.callback(server.stop, 0)
        deaf = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        request = b"\0\0\0\0\0"
        deaf.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
        for number in range(1, 41, 2):
            deaf.sendall(
                frame(HEADERS, END_HEADERS, number, request_head(WATCH)) + frame(DATA, END_STREAM, number, request)
            )
        plain = connect(server.target)
        stream = watched(plain)
        assert next(stream) == reply_of(Health.SERVING)
        assert plain.raw(CHECK, b"") == reply_of(Health.SERVING)
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(server.stop)
            assert next(stream) == reply_of(Health.NOT_SERVING)
            with pytest.raises(grpc.RpcError):
                next(stream)
            deaf.close()  # it would not leave when the server says so, either
            stopping.result(10)


@pytest.mark.parametrize(("service", "healthy"), [("ModelService", True), ("nope", False)])
def test_a_channel_that_checks_health_by_its_service_config(service, healthy):
    config = {"healthCheckConfig": {"serviceName": service}, "loadBalancingConfig": [{"round_robin": {}}]}
    options = [("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1)]
    with Server(HEALTHY) as server, grpc.insecure_channel(server.target, options) as channel:
        check = channel.unary_unary(CHECK)
        if healthy:
            assert check(b"", timeout=10) == reply_of(Health.SERVING)
        else:
            with pytest.raises(grpc.RpcError) as caught:
                check(b"", timeout=10)
            assert caught.value.code().name == "UNAVAILABLE"


# --- a server's life -------------------------------------------------------------------------------------------------


def test_a_server_that_starts_again_is_healthy_again():
    server = Server(HEALTHY)
    for _ in range(2):
        with server, PredictClient(server.target) as client:
            assert client.health() is Health.SERVING


def test_a_server_whose_threads_are_all_busy_still_reports_its_state():
    busy, leave = threading.Semaphore(0), threading.Event()

    def wait():
        busy.release()
        assert leave.wait(20)
        return 1

    with Server(ServerConfig(enable_grpc_healthcheck_service=True, threads=2)) as server:
        server.add_model("m", {"serving_default": FunctionSignature(wait, {}, {"y": TensorSpec("int32", ())})})
        with PredictClient(server.target, model="m", timeout=20) as client:
            running = [client.predict_future({}) for _ in range(3)]  # the third one waits for a thread
            for _ in range(2):
                assert busy.acquire(timeout=10)
            assert client.health() is Health.SERVING
            assert client.status().available
            assert "serving_default" in client.signatures()
            leave.set()
            for each in running:
                each.result(10)
