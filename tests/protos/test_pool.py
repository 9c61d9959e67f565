"""The compiled schema: a private pool, the public module layout, any protobuf runtime."""

import asyncio
import copy
import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError, Message

import tfs_client.protos
from tfs_client.protos import _pool
from tfs_client.protos.google.protobuf import any_pb2, wrappers_pb2
from tfs_client.protos.tensorflow.core.example import example_pb2
from tfs_client.protos.tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tfs_client.protos.tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2, saved_model_pb2
from tfs_client.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
)
from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2

HERE = Path(tfs_client.protos.__file__).parent
SCHEMA = FileDescriptorSet.FromString((HERE / "schema.binpb").read_bytes())
FILES = [file.name for file in SCHEMA.file]
PACKAGE = tfs_client.protos.__name__


def module_of(path):
    return importlib.import_module(f"{PACKAGE}.{path.removesuffix('.proto').replace('/', '.')}_pb2")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


# --- the pool


def test_importing_the_package_imports_no_protobuf():
    code = "import sys, tfs_client.protos; print(*(name for name in sys.modules if name.startswith('google')))"
    assert run_python(code).strip() == ""


def test_pool_is_built_on_first_use():
    code = (
        "from tfs_client.protos import _pool; print(_pool._pool is None);"
        "import tfs_client.protos.tensorflow_serving.apis.model_pb2; print(_pool._pool is None)"
    )
    assert run_python(code).split() == ["True", "False"]


def test_nothing_is_registered_in_the_default_pool():
    default = descriptor_pool.Default()
    for file in SCHEMA.file:
        if file.name.startswith("google/"):
            continue  # the runtime's own business
        module_of(file.name)
        with pytest.raises(KeyError):
            default.FindFileByName(file.name)
        for message in file.message_type:
            with pytest.raises(KeyError):
                default.FindMessageTypeByName(f"{file.package}.{message.name}")


def test_well_known_types_come_from_the_private_pool():
    theirs = importlib.import_module("google.protobuf.wrappers_pb2")
    assert wrappers_pb2.Int64Value is not theirs.Int64Value
    assert type(model_pb2.ModelSpec(version=wrappers_pb2.Int64Value(value=3)).version) is wrappers_pb2.Int64Value


def test_every_class_belongs_to_the_one_pool():
    assert _pool.pool() is _pool.pool()
    for path in FILES:
        assert module_of(path).DESCRIPTOR.pool is _pool.pool()


def test_racing_threads_get_the_same_classes(monkeypatch):
    monkeypatch.setattr(_pool, "_pool", None)
    start = threading.Barrier(8)

    def build(_):
        start.wait()
        return _pool.pool(), _pool.message("tensorflow.serving.PredictRequest", predict_pb2.__name__)

    with ThreadPoolExecutor(8) as threads:
        built = list(threads.map(build, range(8)))
    assert len({id(pool) for pool, _ in built}) == 1
    assert len({id(message) for _, message in built}) == 1


# --- the modules


def test_every_generated_module_imports():
    found = [
        info.name
        for info in pkgutil.walk_packages(tfs_client.protos.__path__, f"{PACKAGE}.")
        if not info.ispkg and info.name != _pool.__name__
    ]
    assert len([name for name in found if name.endswith("_pb2")]) == len(FILES)
    assert len([name for name in found if name.endswith("_pb2_grpc")]) == 3
    for name in found:
        importlib.import_module(name)


@pytest.mark.parametrize("path", FILES)
def test_module_names_what_its_file_declares(path):
    module = module_of(path)
    file = next(file for file in SCHEMA.file if file.name == path)
    assert module.DESCRIPTOR.name == path
    assert module.DESCRIPTOR.package == file.package
    for message in file.message_type:
        cls = getattr(module, message.name)
        assert issubclass(cls, Message)
        assert cls.DESCRIPTOR.full_name == f"{file.package}.{message.name}"
        assert (cls.__module__, cls.__qualname__) == (module.__name__, message.name)
        for nested in message.nested_type:
            assert getattr(cls, nested.name).DESCRIPTOR.full_name == f"{file.package}.{message.name}.{nested.name}"
            assert getattr(cls, nested.name).__qualname__ == f"{message.name}.{nested.name}"
    for enum in file.enum_type:
        wrapper = getattr(module, enum.name)
        assert wrapper.items() == [(value.name, value.number) for value in enum.value]
        for value in enum.value:
            assert getattr(module, value.name) == value.number


def test_generated_files_say_so_and_have_stubs():
    modules = [*HERE.rglob("*_pb2.py"), *HERE.rglob("*_pb2_grpc.py")]
    assert len(modules) == len(FILES) + 3
    inits = [path for path in HERE.rglob("__init__.py") if path.parent != HERE]
    for path in [*modules, *(path.with_suffix(".pyi") for path in modules), *inits]:
        with path.open(encoding="utf-8") as file:
            assert file.readline() == "# Generated by scripts/gen_protos.sh; do not edit.\n"


def test_generated_modules_and_stubs_import_schema_modules_from_this_package():
    for path in [*HERE.rglob("*_pb2*.py"), *HERE.rglob("*_pb2*.pyi")]:
        for package in re.findall(r"^from ([\w.]+) import \w+_pb2\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert package.startswith(PACKAGE), path


def test_schema_carries_no_source_info():
    assert not any(file.HasField("source_code_info") for file in SCHEMA.file)


# --- enums


def test_enum_wrappers_translate_names():
    assert types_pb2.DataType.Name(1) == "DT_FLOAT"
    assert types_pb2.DataType.Value("DT_HALF") == types_pb2.DT_HALF == 19
    assert error_codes_pb2.Code.Name(error_codes_pb2.NOT_FOUND) == "NOT_FOUND"


def test_nested_enums_are_reached_through_their_message():
    status = get_model_status_pb2.ModelVersionStatus
    assert status.State.Name(30) == "AVAILABLE"
    assert status.AVAILABLE == status.State.Value("AVAILABLE") == 30


def test_unknown_dtype_number_survives():
    tensor = tensor_pb2.TensorProto.FromString(bytes.fromhex("08e707"))
    assert tensor.dtype == 999
    assert tensor.SerializeToString() == bytes.fromhex("08e707")


def test_reference_dtypes_are_100_above():
    names = dict(types_pb2.DataType.items())
    values = {name: number for name, number in names.items() if not name.endswith("_REF") and number}
    assert sorted(values.values()) == list(range(1, 34))
    assert {f"{name}_REF": number + 100 for name, number in values.items()} == {
        name: number for name, number in names.items() if name.endswith("_REF")
    }


# --- messages


GOLDEN = [
    (
        tensor_pb2.TensorProto(dtype=1, tensor_shape={"dim": [{"size": 2}]}, float_val=[1.0, 2.5]),
        "0801 1204 1202 0802 2a08 0000803f 00002040",
    ),
    (
        tensor_pb2.TensorProto(
            dtype=1, tensor_shape={"dim": [{"size": 2}]}, tensor_content=bytes.fromhex("0000803f00002040")
        ),
        "0801 1204 1202 0802 2208 0000803f 00002040",
    ),
    (
        tensor_pb2.TensorProto(dtype=7, tensor_shape={"dim": [{"size": 2}]}, string_val=[b"a", b"bc"]),
        "0807 1204 1202 0802 4201 61 4202 6263",
    ),
    (
        tensor_pb2.TensorProto(dtype=7, tensor_shape={"dim": [{"size": 2}]}, tensor_content=b"\x01\x02abc"),
        "0807 1204 1202 0802 2205 01 02 61 6263",
    ),
    (
        tensor_pb2.TensorProto(dtype=19, tensor_shape={"dim": [{"size": 2}]}, half_val=[15360, 49152]),
        "0813 1204 1202 0802 6a05 8078 808003",
    ),
    (
        tensor_pb2.TensorProto(dtype=3, tensor_shape={"dim": [{"size": 1}]}, int_val=[-1]),
        "0803 1204 1202 0801 3a0a ffffffffffffffffff01",
    ),
    (
        tensor_pb2.TensorProto(dtype=1, tensor_shape={}, float_val=[3.0]),
        "0801 1200 2a04 00004040",
    ),
    (
        predict_pb2.PredictRequest(
            model_spec={"name": "m", "version": {"value": 3}},
            inputs={
                "x": tensor_pb2.TensorProto(dtype=1, tensor_shape={"dim": [{"size": 1}]}, float_val=[2.0]),
            },
            output_filter=["y"],
        ),
        "0a070a016d1202080312130a0178120e08011204120208012a04000000401a0179",
    ),
    (
        predict_pb2.PredictResponse(
            model_spec={"name": "m", "version": {"value": 3}, "signature_name": "serving_default"},
            outputs={
                "y": tensor_pb2.TensorProto(dtype=1, tensor_shape={"dim": [{"size": 1}]}, float_val=[3.0]),
            },
        ),
        "0a130a0179120e08011204120208012a040000404012180a016d120208031a0f73657276696e675f64656661756c74",
    ),
    (
        get_model_status_pb2.GetModelStatusResponse(model_version_status=[{"version": 1, "state": 30, "status": {}}]),
        "0a060801101e1a00",
    ),
]


@pytest.mark.parametrize(("message", "wire"), GOLDEN)
def test_golden_bytes_both_ways(message, wire):
    assert message.SerializeToString() == bytes.fromhex(wire)
    assert type(message).FromString(bytes.fromhex(wire)) == message


@pytest.mark.parametrize("path", FILES)
def test_every_message_round_trips_with_every_field_set(path):
    for descriptor in module_of(path).DESCRIPTOR.message_types_by_name.values():
        message = filled(descriptor, depth=4)
        wire = message.SerializeToString(deterministic=True)
        again = type(message).FromString(wire)
        assert again.SerializeToString(deterministic=True) == wire
        assert not descriptor.fields or wire


def filled(descriptor, depth):
    """A message with a value in every field (the last member of every oneof), ``depth`` messages deep."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        target = getattr(message, field.name)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            key = field.message_type.fields_by_name["key"]
            value = field.message_type.fields_by_name["value"]
            if value.message_type is None:
                target[scalar(key)] = scalar(value)
            elif depth:
                target[scalar(key)].CopyFrom(filled(value.message_type, depth - 1))
        elif field.message_type is not None:
            if depth:
                inner = filled(field.message_type, depth - 1)
                if hasattr(target, "append"):
                    target.append(inner)
                else:
                    target.CopyFrom(inner)
        elif hasattr(target, "append"):
            target.extend([scalar(field), scalar(field)])
        else:
            setattr(message, field.name, scalar(field))
    return message


def scalar(field):
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        field.CPPTYPE_STRING: b"\xff" if field.type == field.TYPE_BYTES else "k",
        field.CPPTYPE_BOOL: True,
        field.CPPTYPE_FLOAT: 0.5,
        field.CPPTYPE_DOUBLE: 0.25,
    }.get(field.cpp_type, 7)


def test_unpacked_repeated_scalars_are_read():
    tensor = tensor_pb2.TensorProto.FromString(bytes.fromhex("0801 2d0000803f 2d00002040"))
    assert list(tensor.float_val) == [1.0, 2.5]


def test_truncated_bytes_are_refused():
    with pytest.raises(DecodeError):
        predict_pb2.PredictRequest.FromString(bytes.fromhex("0a070a01"))


def test_version_and_label_exclude_each_other():
    spec = model_pb2.ModelSpec(version_label="stable")
    spec.version.value = 0
    assert spec.WhichOneof("version_choice") == "version"
    assert spec.version_label == ""
    assert spec.SerializeToString() == bytes.fromhex("1200")


def test_absent_and_zero_differ_where_the_schema_says_optional():
    assert not predict_pb2.PredictRequest().HasField("client_id")
    assert predict_pb2.PredictRequest(client_id=b"").HasField("client_id")


def test_graph_is_skipped_but_kept():
    """Field 2 of MetaGraphDef, the graph, is not in our schema; signatures around it are read all the same."""
    signature = meta_graph_pb2.MetaGraphDef()
    signature.signature_def["serving_default"].method_name = "tensorflow/serving/predict"
    graph = b"\x12\x03" + b"abc"  # opaque: it is never looked into
    wire = b"\x08\x01\x12" + bytes([len(graph + signature.SerializeToString())]) + graph + signature.SerializeToString()
    model = saved_model_pb2.SavedModel.FromString(wire)
    assert model.meta_graphs[0].signature_def["serving_default"].method_name == "tensorflow/serving/predict"
    model.DiscardUnknownFields()
    assert model.meta_graphs[0] == signature


def test_any_packs_and_unpacks():
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].method_name = "tensorflow/serving/predict"
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    packed = response.metadata["signature_def"]
    assert type(packed) is any_pb2.Any
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert packed.Is(signatures.DESCRIPTOR)
    unpacked = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(unpacked)
    assert unpacked == signatures
    assert not packed.Unpack(model_pb2.ModelSpec())


def test_text_format_reads_a_model_config():
    text = """
    model_config_list { config {
      name: "m" base_path: "/models/m" model_platform: "tensorflow"
      model_version_policy { specific { versions: 1 versions: 2 } }
      version_labels { key: "stable" value: 1 }
    } }
    """
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1}
    assert text_format.Parse(text_format.MessageToString(config), type(config)()) == config


def test_text_and_json_expand_any_given_the_pool():
    text = 'custom_model_config { [type.googleapis.com/tensorflow.serving.ModelSpec] { name: "m" } }'
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig(), descriptor_pool=_pool.pool())
    spec = model_pb2.ModelSpec()
    assert config.custom_model_config.Unpack(spec)
    assert spec.name == "m"
    assert json_format.MessageToDict(config, descriptor_pool=_pool.pool()) == {
        "customModelConfig": {"@type": "type.googleapis.com/tensorflow.serving.ModelSpec", "name": "m"}
    }


def test_wrappers_are_plain_values_in_json():
    spec = json_format.ParseDict({"name": "m", "version": "3"}, model_pb2.ModelSpec())
    assert spec.version.value == 3
    assert json_format.MessageToDict(spec) == {"name": "m", "version": "3"}


def test_status_keeps_its_field_names_in_json():
    """The REST status page is this message, printed."""
    status = get_model_status_pb2.ModelVersionStatus(status={"error_code": "NOT_FOUND", "error_message": "gone"})
    response = get_model_status_pb2.GetModelStatusResponse(model_version_status=[status])
    assert json_format.MessageToDict(response) == {
        "model_version_status": [{"status": {"error_code": "NOT_FOUND", "error_message": "gone"}}]
    }


def test_messages_pickle_and_copy():
    request = GOLDEN[7][0]
    for message in (request, request.inputs["x"], request.inputs["x"].tensor_shape.dim[0], example_pb2.Example()):
        again = pickle.loads(pickle.dumps(message))
        assert again == message
        assert type(again) is type(message)
        assert copy.deepcopy(message) == message
    assert type(request.inputs["x"].tensor_shape.dim[0]) is tensor_shape_pb2.TensorShapeProto.Dim


# --- services


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        return predict_pb2.PredictResponse(outputs=request.inputs, model_spec=request.model_spec)


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.model_spec.name}")


@pytest.fixture
def channel():
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server)
        port = server.add_insecure_port("localhost:0")
        server.start()
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            yield channel
        server.stop(None).wait()


def test_stub_and_servicer_talk(channel):
    request = GOLDEN[7][0]
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    assert type(response) is predict_pb2.PredictResponse
    assert response.outputs["x"] == request.inputs["x"]
    assert response.model_spec == request.model_spec


def test_servicer_error_reaches_the_stub(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m"}), timeout=10)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert error.value.details() == "no m"


def test_a_method_without_an_implementation_is_unimplemented(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(classification_pb2.ClassificationRequest(), timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_service_that_was_not_added_is_unimplemented(channel):
    stub = session_service_pb2_grpc.SessionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.SessionRun(session_service_pb2.SessionRunRequest(), timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_asyncio_channel_and_server_take_the_same_classes():
    class AsyncPredictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        async def Predict(self, request, context):
            return predict_pb2.PredictResponse(model_spec=request.model_spec)

    async def call():
        server = grpc.aio.server()
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(AsyncPredictions(), server)
        port = server.add_insecure_port("localhost:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            response = await stub.Predict(GOLDEN[7][0], timeout=10)
        await server.stop(None)
        return response

    assert asyncio.run(call()).model_spec.name == "m"


def test_stub_and_servicer_have_every_method_of_the_service():
    for file in SCHEMA.file:
        for service in file.service:
            if file.package.startswith("grpc."):
                continue  # gRPC's own services, for reflection only
            module = importlib.import_module(module_of(file.name).__name__ + "_grpc")
            methods = {method.name for method in service.method}
            servicer = getattr(module, f"{service.name}Servicer")
            assert {name for name in vars(servicer) if not name.startswith("_")} == methods
            with grpc.insecure_channel("localhost:1") as channel:
                assert set(vars(getattr(module, f"{service.name}Stub")(channel))) == methods
    assert [service.name for service in model_service_pb2.DESCRIPTOR.services_by_name.values()] == ["ModelService"]
