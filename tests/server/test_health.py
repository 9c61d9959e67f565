"""gRPC's health service, and how a server leaves: first it says so, then it goes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tfs_client import Health, NotFoundError, PredictClient, TensorSpec
from tfs_client.codec import wire
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.health import reply_of, service_of

ONE = {"serving_default": FunctionSignature(lambda: 1, {}, {"y": TensorSpec("int32", ())})}
HEALTHY = ServerConfig(enable_grpc_healthcheck_service=True)
CHECK = "/grpc.health.v1.Health/Check"


def test_the_services_are_healthy():
    with Server(HEALTHY) as server, PredictClient(server.target) as client:
        for service in ("", "ModelService", "PredictionService"):
            assert client.health(service) is Health.SERVING
        with pytest.raises(NotFoundError, match="unknown service tensorflow"):
            client.health("tensorflow.serving.PredictionService")


def test_it_is_not_offered_unless_it_is_asked_for(connect, refused):
    with Server() as server:
        assert refused(connect(server.target).raw, CHECK, b"")[0] == "UNIMPLEMENTED"


def test_watching_is_not_offered(connect):
    with Server(HEALTHY) as server:
        watch = connect(server.target).channel.unary_stream("/grpc.health.v1.Health/Watch")
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(b"", timeout=10))
        assert caught.value.code().name == "UNIMPLEMENTED"


def test_bytes_that_are_no_message_are_an_error(connect, refused):
    with Server(HEALTHY) as server:
        code, text = refused(connect(server.target).raw, CHECK, b"\xff\xff")
        assert code == "INTERNAL"
        assert text.startswith("the request is no message of Check")


def test_messages_on_the_wire():
    assert service_of(b"") == ""
    assert service_of(wire.delimited(1, b"a") + b"\x10\x05" + wire.delimited(1, b"b")) == "b"
    assert reply_of(Health.SERVING) == b"\x08\x01"
    assert reply_of(Health.NOT_SERVING) == b"\x08\x02"


def test_a_server_that_drains_says_so_and_still_serves():
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


def test_a_server_that_starts_again_is_healthy_again():
    server = Server(HEALTHY)
    for _ in range(2):
        with server, PredictClient(server.target) as client:
            assert client.health() is Health.SERVING


def test_a_server_whose_threads_are_all_busy_still_tells_its_state():
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
