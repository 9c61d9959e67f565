"""Server reflection: tools learn services and messages from the server, as they do from any gRPC server."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_client import Plain

import tfs_client.protos
from tfs_client import TensorSpec
from tfs_client.errors import DecodeError
from tfs_client.protos.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.grpc.reflection import ReflectionService

V1, V1ALPHA = (f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha"))
SERVING = ["tensorflow.serving.ModelService", "tensorflow.serving.PredictionService"]
REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def served():
    """A plain client of a server with a model that doubles."""
    with Server(ServerConfig(enable_grpc_healthcheck_service=True)) as server:
        double = FunctionSignature(lambda x: {"y": 2 * x}, {"x": VECTOR}, {"y": VECTOR})
        server.add_model("m", {"serving_default": double})
        plain = Plain(server.target)
        yield plain
        plain.channel.close()


def answers(plain, *questions, path=V1, metadata=()):
    """The responses to questions, each given as the fields of a request."""
    requests = [ServerReflectionRequest(**question).SerializeToString() for question in questions]
    responses = plain.channel.stream_stream(path)(iter(requests), timeout=20, metadata=metadata)
    return [ServerReflectionResponse.FromString(response) for response in responses]


def services(plain, **options):
    [response] = answers(plain, {"list_services": "*"}, **options)
    return [service.name for service in response.list_services_response.service]


def files(plain, **question):
    """The files of an answer, the one that was asked for first."""
    [response] = answers(plain, question)
    return [FileDescriptorProto.FromString(file) for file in response.file_descriptor_response.file_descriptor_proto]


@pytest.mark.parametrize("path", [V1, V1ALPHA])
def test_the_services_that_the_server_offers_are_listed(served, path):
    assert services(served, path=path) == ["grpc.health.v1.Health", *REFLECTION, *SERVING]


def test_the_health_service_is_listed_only_where_it_is_offered(connect):
    with Server() as server:
        assert services(connect(server.target)) == [*REFLECTION, *SERVING]


def test_every_service_can_be_built_in_another_pool_and_called(served):
    pool, built = descriptor_pool.DescriptorPool(), set()

    def build(file, among):
        for dependency in file.dependency:
            build(among[dependency], among)
        if file.name not in built:
            built.add(file.name)
            pool.AddSerializedFile(file.SerializeToString())

    for service in services(served):
        found = files(served, file_containing_symbol=service)
        build(found[0], {file.name: file for file in found})
        assert pool.FindServiceByName(service).methods
    assert {"google/protobuf/any.proto", "tensorflow/core/framework/tensor.proto"} <= built

    predict = pool.FindServiceByName(SERVING[1]).FindMethodByName("Predict")
    request, response = (message_factory.GetMessageClass(kind) for kind in (predict.input_type, predict.output_type))
    asked = json_format.ParseDict(
        {
            "model_spec": {"name": "m"},
            "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [1, 2]}},
        },
        request(),
    )
    reply = served.raw(f"/{SERVING[1]}/Predict", asked.SerializeToString())
    assert list(response.FromString(reply).outputs["y"].float_val) == [2, 4]


def test_every_file_of_the_schema_comes_with_all_that_it_imports(served):
    schema = Path(tfs_client.protos.__file__).with_name("schema.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(schema).file:
        found = files(served, file_by_filename=file.name)
        names = [each.name for each in found]
        assert names[0] == file.name
        assert len(set(names)) == len(names)
        assert {dependency for each in found for dependency in each.dependency} <= set(names)


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("tensorflow.serving.PredictRequest", "tensorflow_serving/apis/predict.proto"),
        ("tensorflow.serving.ModelVersionStatus.State", "tensorflow_serving/apis/get_model_status.proto"),
        ("tensorflow.DataType", "tensorflow/core/framework/types.proto"),
        ("tensorflow.serving.PredictionService", "tensorflow_serving/apis/prediction_service.proto"),
        ("tensorflow.serving.PredictionService.Predict", "tensorflow_serving/apis/prediction_service.proto"),
        ("google.protobuf.Int64Value", "google/protobuf/wrappers.proto"),
    ],
)
def test_symbols_of_every_kind_are_found(served, symbol, file):
    assert files(served, file_containing_symbol=symbol)[0].name == file


PREDICT_REQUEST = "tensorflow.serving.PredictRequest"


@pytest.mark.parametrize(
    ("question", "code", "text"),
    [
        ({"file_by_filename": "nope.proto"}, 5, "not found"),
        ({"file_by_filename": ""}, 5, "not found"),
        ({"file_containing_symbol": "nope.Nope"}, 5, "not found"),
        ({"file_containing_extension": {"containing_type": "nope.Nope", "extension_number": 1}}, 5, "not found"),
        ({"file_containing_extension": {"containing_type": PREDICT_REQUEST, "extension_number": 9}}, 5, "not found"),
        ({"all_extension_numbers_of_type": "nope.Nope"}, 5, "not found"),
        ({}, 3, "invalid argument"),
    ],
)
def test_errors_are_those_of_grpcs_own_service(served, question, code, text):
    [response] = answers(served, question)
    assert (response.error_response.error_code, response.error_response.error_message) == (code, text)
    assert response.original_request == ServerReflectionRequest(**question)


@settings(max_examples=40)
@given(
    field=st.sampled_from(["file_by_filename", "file_containing_symbol", "all_extension_numbers_of_type"]),
    name=st.text(max_size=20),
    data=st.binary(max_size=40),
)
def test_every_question_gets_an_answer_or_an_error(field, name, data):
    service = ReflectionService([])
    answer = service.answer(ServerReflectionRequest(**{field: name}).SerializeToString())
    assert ServerReflectionResponse.FromString(answer).WhichOneof("message_response")
    with contextlib.suppress(DecodeError):
        assert ServerReflectionResponse.FromString(service.answer(data))


def test_extensions_are_found_and_listed(monkeypatch):
    pool = descriptor_pool.DescriptorPool()
    file = FileDescriptorProto(name="x.proto", package="x", syntax="proto2")
    file.message_type.add(name="Base").extension_range.add(start=100, end=200)
    for number in (120, 110):
        file.extension.add(name=f"e{number}", number=number, extendee=".x.Base", type=5, label=1)
    pool.AddSerializedFile(file.SerializeToString())
    monkeypatch.setattr(tfs_client.protos, "pool", lambda: pool)

    def answer(**question):
        request = ServerReflectionRequest(**question).SerializeToString()
        return ServerReflectionResponse.FromString(ReflectionService([]).answer(request))

    numbers = answer(all_extension_numbers_of_type="x.Base").all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == ("x.Base", [110, 120])
    found = answer(file_containing_extension={"containing_type": "x.Base", "extension_number": 110})
    [only] = map(FileDescriptorProto.FromString, found.file_descriptor_response.file_descriptor_proto)
    assert only.name == "x.proto"


def test_a_message_without_extensions_has_none(served):
    [response] = answers(served, {"all_extension_numbers_of_type": PREDICT_REQUEST})
    numbers = response.all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == (PREDICT_REQUEST, [])


def test_questions_of_one_call_are_answered_in_order(served):
    symbols = [f"tensorflow.serving.{name}" for name in ("ModelSpec", "Nope", "PredictRequest")]
    found = answers(served, *({"host": "h", "file_containing_symbol": symbol} for symbol in symbols))
    assert [response.original_request.file_containing_symbol for response in found] == symbols
    assert [response.WhichOneof("message_response") for response in found] == [
        "file_descriptor_response",
        "error_response",
        "file_descriptor_response",
    ]
    assert {response.valid_host for response in found} == {"h"}


def test_an_invalid_message_ends_the_call(served):
    with pytest.raises(grpc.RpcError) as caught:
        next(served.channel.stream_stream(V1)(iter([b"\xff\xff"]), timeout=10))
    assert caught.value.code().name == "INTERNAL"
    assert caught.value.details().startswith("the request is not a ServerReflectionRequest")


def test_reflection_needs_the_token_if_one_is_set(connect):
    with Server(ServerConfig(token="secret")) as server:
        plain = connect(server.target)
        with pytest.raises(grpc.RpcError) as caught:
            services(plain)
        assert caught.value.code().name == "UNAUTHENTICATED"
        assert services(plain, metadata=[("authorization", "Bearer secret")]) == [*REFLECTION, *SERVING]


def test_reflection_can_be_disabled(connect):
    with Server(ServerConfig(enable_grpc_reflection=False)) as server:
        with pytest.raises(grpc.RpcError) as caught:
            services(connect(server.target))
        assert (caught.value.code().name, caught.value.details()) == ("UNIMPLEMENTED", "")


class Idle:
    """A call whose client asks one question and then nothing more."""

    def __init__(self, plain):
        self._over = threading.Event()
        self.responses = plain.channel.stream_stream(V1)(self._questions(), timeout=60)
        next(self.responses)

    def _questions(self):
        yield ServerReflectionRequest(list_services="").SerializeToString()
        self._over.wait(60)

    def close(self):
        self.responses.cancel()
        self._over.set()


def test_idle_calls_do_not_block_others(connect, monkeypatch):
    """More of them than threads that a pool lends: the oldest end."""
    monkeypatch.setattr("tfs_client.server.grpc.arrivals.LEAST", 0.1)
    monkeypatch.setattr("tfs_client.server.thread_pool.MAX_LENT", 4)
    with Server(ServerConfig(threads=1)) as server:
        plain = connect(server.target)
        server.add_model("m", {"serving_default": FunctionSignature(lambda: 1, {}, {"y": TensorSpec("int32", ())})})
        idle = [Idle(plain) for _ in range(12)]
        assert services(plain) == [*REFLECTION, *SERVING]
        assert np.array(plain.predict({"name": "m"}).outputs["y"].int_val).tolist() == [1]
        with pytest.raises(grpc.RpcError) as caught:
            next(idle[0].responses)
        assert caught.value.code().name == "CANCELLED"
        for each in idle:
            each.close()


def test_a_stop_ends_open_calls_at_once(connect):
    server = Server(ServerConfig(shutdown_grace=20))
    server.start()
    idle = Idle(connect(server.target))
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5
    with pytest.raises(grpc.RpcError) as caught:
        next(idle.responses)
    assert (caught.value.code().name, caught.value.details()) == ("UNAVAILABLE", "the server is stopping")
    idle.close()
