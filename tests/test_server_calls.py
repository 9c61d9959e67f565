"""Calls to the server rather than to a model: reloading its configuration, and checking its health."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from calling import GRPC, calling

from tfs_client import (
    DeadlineExceededError,
    FailedPreconditionError,
    Health,
    InvalidArgumentError,
    Latest,
    ModelConfig,
    ModelServerConfig,
    NotFoundError,
    State,
    UnimplementedError,
)
from tfs_client.protos.tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

CONFIG = ModelServerConfig([ModelConfig("a", "/models/a"), ModelConfig("b", "/models/b", versions=Latest(2))])


class Models(model_service_pb2_grpc.ModelServiceServicer):
    """A model service on the generated stubs: accepts configurations and reports the states that the test sets."""

    def __init__(self):
        self.requests = []
        self.states = {}  # by model: (version, state, error code, error text)
        self.looked = threading.Event()

    def HandleReloadConfigRequest(self, request, context):
        self.requests.append(request)
        if not request.config.model_config_list.config:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "ServerModelConfig type not supported")
        response = model_management_pb2.ReloadConfigResponse()
        for name in request.metric_names:
            response.metric.add(name=name, int64_value_increase=3)
        return response

    def GetModelStatus(self, request, context):
        self.looked.set()
        states = self.states.get(request.model_spec.name)
        if states is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, code, text in states:
            entry = response.model_version_status.add(version=version, state=int(state))
            entry.status.error_code, entry.status.error_message = code, text
        return response


@pytest.fixture
def models():
    return Models()


@pytest.fixture
def target(models):
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture(params=GRPC)
def client(request, target):
    with calling(request.param, target, timeout=20) as client:
        yield client


def test_a_configuration_is_sent_whole_and_the_metrics_are_returned(client, models):
    result = client.reload_config(CONFIG, metrics=["/tensorflow/serving/request_count"])
    assert result.metrics == {"/tensorflow/serving/request_count": 3}
    assert ModelServerConfig.from_proto(models.requests[0].config) == CONFIG
    assert not models.looked.is_set()


def test_a_refused_configuration_is_the_servers_error(client):
    with pytest.raises(InvalidArgumentError, match="HandleReloadConfigRequest: INVALID_ARGUMENT: ServerModelConfig"):
        client.reload_config(ModelServerConfig([]))


def test_waiting_ends_when_every_model_is_served(client, models):
    models.states = {"a": [(1, State.AVAILABLE, 0, "")]}

    def load_b():
        assert models.looked.wait(20)
        models.states = models.states | {"b": [(1, State.LOADING, 0, "")]}
        models.looked.clear()
        assert models.looked.wait(20)
        models.states = models.states | {"b": [(1, State.AVAILABLE, 0, "")]}

    loader = threading.Thread(target=load_b)
    loader.start()
    client.reload_config(CONFIG, wait=True)
    loader.join(20)
    assert models.states["b"] == [(1, State.AVAILABLE, 0, "")]


def test_waiting_that_times_out_names_the_missing_models(client, models):
    models.states = {"a": [(1, State.AVAILABLE, 0, "")]}
    with pytest.raises(
        DeadlineExceededError, match=r"accepted the configuration, but within 0\.4 s did not serve b: no version"
    ):
        client.reload_config(CONFIG, wait=True, timeout=0.4)


def test_a_model_that_fails_to_load_ends_the_wait(client, models):
    models.states = {"a": [(1, State.AVAILABLE, 0, "")], "b": [(1, State.END, 5, "no such file")]}
    with pytest.raises(FailedPreconditionError, match=r"could not load b: version 1.*no such file"):
        client.reload_config(CONFIG, wait=True)


def test_health_is_that_of_the_service(client, target):
    with pytest.raises(UnimplementedError):
        client.health()


@pytest.fixture
def healthy():
    """A server with a health service, by its own handlers."""
    answers = {b"": b"\x08\x01", b"\n\x0cModelService": b"\x08\x02"}

    def check(request, context):
        if request not in answers:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return answers[request]

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.mark.parametrize("style", GRPC)
def test_a_server_reports_its_health(healthy, style):
    with calling(style, healthy, timeout=20) as client:
        assert client.health() is Health.SERVING
        assert client.health("ModelService") is Health.NOT_SERVING
        with pytest.raises(NotFoundError):
            client.health("Other")
