"""The schema against the published packages, field by field: what is here is equal, what is not is listed.

A descriptor is flattened into facts, one per file, message, field, enum value and method, so that the comparison is
of two dictionaries and every difference has a name.
"""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

import tfs_client.protos

pytestmark = pytest.mark.peer

NO_GRAPH = "clients read signatures; graphs stay with TensorFlow"
NO_TUNING = "tunes TensorFlow's runtime; nothing here reads it"
NO_TRACE = "what a traced session run reports; the session service is not served"
NO_LIST = "the health service of gRPC C++, which the model server has, does not offer it"
OWN_FILE = "the same enum, with the same full name, is in tensorflow/core/protobuf/error_codes.proto here"

# Published, reachable from the serving API, and not here. A file or message stands for all that is inside it.
LEFT_OUT = {
    "tensorflow/core/framework/allocation_description.proto": NO_TRACE,
    "tensorflow/core/framework/attr_value.proto": NO_GRAPH,
    "tensorflow/core/framework/cost_graph.proto": NO_TRACE,
    "tensorflow/core/framework/full_type.proto": NO_GRAPH,
    "tensorflow/core/framework/function.proto": NO_GRAPH,
    "tensorflow/core/framework/graph.proto": NO_GRAPH,
    "tensorflow/core/framework/graph_debug_info.proto": NO_GRAPH,
    "tensorflow/core/framework/node_def.proto": NO_GRAPH,
    "tensorflow/core/framework/op_def.proto": NO_GRAPH,
    "tensorflow/core/framework/step_stats.proto": NO_TRACE,
    "tensorflow/core/framework/tensor_description.proto": NO_TRACE,
    "tensorflow/core/framework/variable.proto": NO_GRAPH,
    "tensorflow/core/framework/versions.proto": NO_GRAPH,
    "tensorflow/core/protobuf/cluster.proto": NO_TUNING,
    "tensorflow/core/protobuf/debug.proto": NO_TRACE,
    "tensorflow/core/protobuf/rewriter_config.proto": NO_TUNING,
    "tensorflow/core/protobuf/rpc_options.proto": NO_TUNING,
    "tensorflow/core/protobuf/saved_object_graph.proto": NO_GRAPH,
    "tensorflow/core/protobuf/saver.proto": NO_GRAPH,
    "tensorflow/core/protobuf/trackable_object_graph.proto": NO_GRAPH,
    "tensorflow/core/protobuf/verifier_config.proto": NO_TUNING,
    "xla/tsl/protobuf/coordination_config.proto": NO_TUNING,
    "xla/tsl/protobuf/error_codes.proto": OWN_FILE,
    "xla/tsl/protobuf/rpc_options.proto": NO_TUNING,
    "tensorflow.BatchingOptions": NO_TUNING,
    "tensorflow.CallableOptions": NO_TUNING,
    "tensorflow.ConfigProto.Experimental": NO_TUNING,
    "tensorflow.ConfigProto.cluster_def": NO_TUNING,
    "tensorflow.ConfigProto.experimental": NO_TUNING,
    "tensorflow.ConfigProto.graph_options": NO_TUNING,
    "tensorflow.ConfigProto.pluggable_device_options": NO_TUNING,
    "tensorflow.ConfigProto.rpc_options": NO_TUNING,
    "tensorflow.ConfigProto.session_inter_op_thread_pool": NO_TUNING,
    "tensorflow.GPUOptions.Experimental": NO_TUNING,
    "tensorflow.GPUOptions.allocator_type": NO_TUNING,
    "tensorflow.GPUOptions.deferred_deletion_bytes": NO_TUNING,
    "tensorflow.GPUOptions.experimental": NO_TUNING,
    "tensorflow.GPUOptions.polling_active_delay_usecs": NO_TUNING,
    "tensorflow.GPUOptions.polling_inactive_delay_msecs": NO_TUNING,
    "tensorflow.GraphOptions": NO_TUNING,
    "tensorflow.MetaGraphDef.MetaInfoDef.stripped_op_list": NO_GRAPH,
    "tensorflow.MetaGraphDef.graph_def": NO_GRAPH,
    "tensorflow.MetaGraphDef.object_graph_def": NO_GRAPH,
    "tensorflow.MetaGraphDef.saver_def": NO_GRAPH,
    "tensorflow.OptimizerOptions": NO_TUNING,
    "tensorflow.RunMetadata.FunctionGraphs": NO_TRACE,
    "tensorflow.RunMetadata.cost_graph": NO_TRACE,
    "tensorflow.RunMetadata.function_graphs": NO_TRACE,
    "tensorflow.RunMetadata.partition_graphs": NO_TRACE,
    "tensorflow.RunMetadata.step_stats": NO_TRACE,
    "tensorflow.RunOptions.debug_options": NO_TRACE,
    "tensorflow.TensorConnection": NO_TUNING,
    "tensorflow.ThreadPoolOptionProto": NO_TUNING,
    "grpc.health.v1.HealthListRequest": NO_LIST,
    "grpc.health.v1.HealthListResponse": NO_LIST,
    "/grpc.health.v1.Health/List": NO_LIST,
}

# Here and in no published wheel: test_unpublished_schema.py compares these with the documentation.
UNPUBLISHED = {
    "grpc/reflection/v1/reflection.proto",
    "tensorflow_serving/config/monitoring_config.proto",
    "tensorflow_serving/config/ssl_config.proto",
    "tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter.proto",
    "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
    "tensorflow_serving/servables/tensorflow/thread_pool_factory_config.proto",
}

# gRPC's services under their public paths, and the modules of its wheels, which have paths of their own.
GRPC_MODULES = {
    "grpc/health/v1/health.proto": "grpc_health.v1.health_pb2",
    "grpc/reflection/v1alpha/reflection.proto": "grpc_reflection.v1alpha.reflection_pb2",
}

# The facts that hold of the file the enum is in, here and in TensorFlow.
MOVED = {"tensorflow.error.Code": ("tensorflow/core/protobuf/error_codes.proto", "xla/tsl/protobuf/error_codes.proto")}

TYPES = {
    value.number: value.name.removeprefix("TYPE_").lower() for value in FieldDescriptorProto.Type.DESCRIPTOR.values
}
UNPACKABLE = {"string", "bytes", "message", "group"}


def facts(file: FileDescriptorProto) -> dict[str, object]:
    """Everything that matters to the wire, text and JSON forms, by full name."""
    found = {}
    for message in file.message_type:
        found.update(message_facts(message, f"{file.package}.{message.name}"))
    for enum in file.enum_type:
        found.update(enum_facts(enum, f"{file.package}.{enum.name}"))
    for service in file.service:
        for method in service.method:
            streams = (method.client_streaming, method.server_streaming)
            found[f"/{file.package}.{service.name}/{method.name}"] = (method.input_type, method.output_type, streams)
    return found


def message_facts(message: DescriptorProto, name: str) -> dict[str, object]:
    reserved = sorted(number for span in message.reserved_range for number in range(span.start, span.end))
    found: dict[str, object] = {name: {"map entry": message.options.map_entry, "reserved": reserved}}
    for field in message.field:
        repeated = field.label == field.LABEL_REPEATED
        packable = repeated and TYPES[field.type] not in UNPACKABLE
        found[f"{name}.{field.name}"] = {
            "number": field.number,
            "type": TYPES[field.type],
            "type name": field.type_name,
            "repeated": repeated,
            "packed": packable and (field.options.packed or not field.options.HasField("packed")),  # proto3's default
            "optional": field.proto3_optional,
            "oneof": message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
            "json name": field.json_name,
            "deprecated": field.options.deprecated,
        }
    for enum in message.enum_type:
        found.update(enum_facts(enum, f"{name}.{enum.name}"))
    for nested in message.nested_type:
        found.update(message_facts(nested, f"{name}.{nested.name}"))
    return found


def enum_facts(enum, name) -> dict[str, object]:
    reserved = sorted(number for span in enum.reserved_range for number in range(span.start, span.end + 1))
    found: dict[str, object] = {name: {"enum": True, "reserved": reserved}}
    for value in enum.value:
        found[f"{name}.{value.name}"] = value.number
    return found


@pytest.fixture(scope="module")
def ours() -> dict[str, FileDescriptorProto]:
    schema = FileDescriptorSet.FromString((Path(tfs_client.protos.__file__).parent / "schema.binpb").read_bytes())
    return {file.name: file for file in schema.file}


@pytest.fixture(scope="module")
def published() -> dict[str, FileDescriptorProto]:
    """Every file of the serving wheel, saved_model.proto, gRPC's services, and all that they import."""
    serving = Path(importlib.import_module("tensorflow_serving").__file__).parent
    modules = [
        ".".join(("tensorflow_serving", *path.relative_to(serving).with_suffix("").parts))
        for path in serving.rglob("*_pb2.py")
    ]
    files = {}

    def add(descriptor):
        if descriptor.name not in files:
            files[descriptor.name] = FileDescriptorProto.FromString(descriptor.serialized_pb)
            for dependency in descriptor.dependencies:
                add(dependency)

    for module in [*modules, "tensorflow.core.protobuf.saved_model_pb2", *GRPC_MODULES.values()]:
        add(importlib.import_module(module).DESCRIPTOR)
    for path, module in GRPC_MODULES.items():
        files[path] = files.pop(importlib.import_module(module).DESCRIPTOR.name)
    for file in files.values():
        fill_in_json_names(file.message_type)
    return files


def fill_in_json_names(messages) -> None:
    # protoc writes them into a descriptor set, and not into Python modules, where they are derived.
    for message in messages:
        for field in message.field:
            if not field.HasField("json_name"):
                head, *rest = field.name.split("_")
                field.json_name = head + "".join(part[:1].upper() + part[1:] for part in rest)
        fill_in_json_names(message.nested_type)


def left_out(name: str) -> bool:
    """The name, or something it is inside of, is listed."""
    return any(name == entry or name.startswith(f"{entry}.") for entry in LEFT_OUT)


def test_every_published_file_is_here_or_left_out(ours, published):
    assert {name for name in published if name not in ours and name not in LEFT_OUT} == set()


def test_every_file_of_ours_is_published_or_listed(ours, published):
    assert {name for name in ours if name not in published} == UNPUBLISHED


def test_files_declare_what_the_published_ones_do(ours, published):
    differences = []
    for name in ours.keys() & published.keys():
        mine, theirs = facts(ours[name]), facts(published[name])
        for fact in sorted(mine.keys() | theirs.keys()):
            if fact not in mine and left_out(fact):
                continue
            if any(fact == moved or fact.startswith(f"{moved}.") for moved in MOVED):
                continue
            if mine.get(fact) != theirs.get(fact):
                differences.append((name, fact, mine.get(fact), theirs.get(fact)))
    assert differences == []


def test_reflection_v1_is_v1alpha_under_another_package(ours):
    v1, v1alpha = (ours[f"grpc/reflection/{version}/reflection.proto"] for version in ("v1", "v1alpha"))
    assert repr(facts(v1)) == repr(facts(v1alpha)).replace("v1alpha", "v1")


@pytest.mark.parametrize("moved", MOVED)
def test_moved_enum_has_the_published_values(ours, published, moved):
    here, there = MOVED[moved]
    assert facts(ours[here]) == facts(published[there])
    assert moved in facts(published[there])


def test_packages_and_syntax_are_the_published_ones(ours, published):
    moved = {here for here, _ in MOVED.values()}
    for name in (ours.keys() & published.keys()) - moved:
        assert (ours[name].package, ours[name].syntax) == (published[name].package, published[name].syntax)


def test_everything_listed_as_left_out_is_still_published_and_still_absent(ours, published):
    def everything(files):
        return {*files, *(fact for file in files.values() for fact in facts(file))}

    assert LEFT_OUT.keys() - everything(published) == set()
    moved = {name for name in LEFT_OUT if LEFT_OUT[name] == OWN_FILE}
    assert (LEFT_OUT.keys() - moved) & everything(ours) == set()


def test_no_entry_of_left_out_repeats_another():
    for entry in LEFT_OUT:
        outer = [other for other in LEFT_OUT if entry.startswith(f"{other}.")]
        assert outer == [], f"{entry} is inside {outer}"


def test_enums_of_a_published_module_are_offered_by_ours():
    """error_codes_pb2 among them, although its enum is another file's in TensorFlow."""
    for name in ["tensorflow.core.framework.types_pb2", "tensorflow.core.protobuf.error_codes_pb2"]:
        theirs, mine = importlib.import_module(name), importlib.import_module(f"tfs_client.protos.{name}")
        constants = {key: value for key, value in vars(theirs).items() if key.isupper() and isinstance(value, int)}
        assert constants
        assert {key: getattr(mine, key) for key in constants} == constants


def test_services_have_the_published_paths_and_classes():
    for name in ["prediction_service", "model_service"]:
        theirs = importlib.import_module(f"tensorflow_serving.apis.{name}_pb2_grpc")
        mine = importlib.import_module(f"tfs_client.protos.tensorflow_serving.apis.{name}_pb2_grpc")
        for public in [key for key in vars(theirs) if key.endswith(("Stub", "Servicer", "_to_server"))]:
            assert hasattr(mine, public)


TOGETHER = """
import sys
def ours():
    from tfs_client.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    from tfs_client.protos.tensorflow.core.framework import tensor_pb2, types_pb2
    return predict_pb2, tensor_pb2
def theirs():
    import tensorflow
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    from tensorflow.core.framework import tensor_pb2, types_pb2
    return predict_pb2, tensor_pb2
order = [ours, theirs] if sys.argv[1] == "ours first" else [theirs, ours]
(predict_a, tensor_a), (predict_b, tensor_b) = order[0](), order[1]()

def request(predict, tensor):
    made = predict.PredictRequest()
    made.model_spec.name = "m"
    made.model_spec.version.value = 3
    made.inputs["x"].CopyFrom(tensor.TensorProto(dtype=1, float_val=[1.0, 2.5], tensor_shape={"dim": [{"size": 2}]}))
    made.output_filter.append("y")
    return made

a, b = request(predict_a, tensor_a), request(predict_b, tensor_b)
assert type(a) is not type(b)
assert a.SerializeToString() == b.SerializeToString()
assert predict_a.PredictRequest.FromString(b.SerializeToString()) == a
assert predict_b.PredictRequest.FromString(a.SerializeToString()) == b

import numpy, tensorflow
import tfs_client.protos.tensorflow.core.framework.tensor_pb2 as private
proto = tensorflow.make_tensor_proto(numpy.arange(6.0).reshape(2, 3))
mine = private.TensorProto.FromString(proto.SerializeToString())
assert mine.SerializeToString() == proto.SerializeToString()
print("agreed")
"""


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_one_process_holds_both_schemas(order):
    done = subprocess.run([sys.executable, "-c", TOGETHER, order], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["agreed"], done.stderr


def test_saved_model_written_by_tensorflow_is_read(tmp_path):
    tensorflow = importlib.import_module("tensorflow")
    from tfs_client.protos.tensorflow.core.protobuf import saved_model_pb2

    module = tensorflow.Module()
    module.double = tensorflow.function(
        lambda x: {"y": 2 * x}, input_signature=[tensorflow.TensorSpec([None, 3], tensorflow.float32, "x")]
    )
    tensorflow.saved_model.save(module, str(tmp_path), signatures=module.double)
    model = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    [graph] = model.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    signature = graph.signature_def["serving_default"]
    assert [dim.size for dim in signature.inputs["x"].tensor_shape.dim] == [-1, 3]
    assert signature.outputs["y"].dtype == 1
    assert signature.method_name == "tensorflow/serving/predict"
