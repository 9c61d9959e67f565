"""The readers of gRPC's messages, each against protobuf."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from tfs_client._calls.health import CheckHealth
from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.reload import ReloadConfig
from tfs_client._calls.served_models import GetConfig
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import examples, model_spec, predict_messages, saved_model_file, signature_defs
from tfs_client._codec import tensors as tensor_codec
from tfs_client._codec.dtypes import BY_NUMBER
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError, StatusCode
from tfs_client.model_config import AllVersions, ModelConfig, ModelServerConfig, SpecificVersions
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tfs_client.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from tfs_client.results import Health, State

from . import corpus_messages as corpus
from . import reference_wire as reference
from .engine import Reader
from .mutations_wire import Mutations, walk
from .reference_wire import Rejected, TooLarge, same

BEYOND = "accepted what protobuf refuses, though the fault lies in what is read"
REFUSED = "refused what protobuf and TensorFlow accept: "
CONFIG = ModelServerConfig(
    [
        ModelConfig("a", "/models/a", versions=SpecificVersions(1, 2), labels={"stable": 1}),
        ModelConfig("b", "s3://models/b", platform="python", versions=AllVersions()),
    ]
).to_proto()
TEXT_LIMITS = ("in at most", "at most 254", "a shape numpy can hold")


def bare(schema: Any, data: bytes, read: Any) -> Any:
    """protobuf's message of the fields which are read, or None if it refuses those too."""
    try:
        if isinstance(read, reference.Once):
            return schema.FromString(read.within(data))
        read = read(data) if callable(read) else read
        return schema.FromString(reference.pruned(data, read))
    except (ProtobufError, UnicodeDecodeError, ValueError):
        return None


def accepted(schema: Any, data: bytes) -> Any:
    """protobuf's message, or None."""
    try:
        return schema.FromString(data)
    except (ProtobufError, UnicodeDecodeError):
        return None


Compare = Callable[[bytes, Any, Any], str]


def wrong(
    schema: Any, read: Any, compare: Compare, refusable: Callable[[bytes, Any, Exception], bool]
) -> Callable[[bytes, Any, Exception | None], str]:
    """The rule of ``reference_wire``, for a message."""

    def judge(data: bytes, value: Any, error: Exception | None) -> str:
        if error is not None:
            proto = accepted(schema, data)
            if proto is None or refusable(data, proto, error):
                return ""
            return f"{REFUSED}{type(error).__name__}: {str(error)[:200]}"
        proto = accepted(schema, data)
        found = BEYOND if proto is None else compare(data, value, proto)
        if found and read is not None:
            # upb sets whole map entries aside for an unknown field in them: without such fields all readers agree.
            proto = bare(schema, data, read)
            found = BEYOND if proto is None else compare(data, value, proto)
        return found

    return judge


# --- tensors


def _tensor(data: bytes, got: np.ndarray, proto: Any) -> str:
    try:
        want = reference.tensor(proto, len(data))
    except Rejected:
        return f"accepted what TensorFlow refuses: {got.dtype} {got.shape}"
    except TooLarge:
        return f"larger than eight times the message: {got.dtype} {got.shape}"
    if not same(got, want):
        shown = [f"{each.dtype} {each.shape} {each.reshape(-1)[:9] if each.size < 1e5 else ''}" for each in (got, want)]
        return f"other values: {shown[0]}, not {shown[1]}"
    return "writable" if got.flags.writeable else ""


def _refusable_tensor(data: bytes, proto: Any, error: Exception) -> bool:
    if any(text in str(error) for text in TEXT_LIMITS):
        return True
    try:
        reference.tensor(proto, len(data))
    except (Rejected, TooLarge):
        return True
    return False


# --- Predict


def _spec(got: ModelSpec, proto: Any) -> str:
    which = proto.WhichOneof("version_choice")
    want = ModelSpec(
        proto.name,
        proto.version.value if which == "version" else None,
        proto.version_label if which == "version_label" else None,
        proto.signature_name,
    )
    return "" if got == want else f"other spec: {got}, not {want}"


def _map(data: bytes, got: dict[str, Any], protos: Any) -> str:
    if got.keys() != set(protos):
        return f"other aliases: {sorted(got)[:9]}, not {sorted(protos)[:9]}"
    for alias, array in got.items():
        if found := _tensor(data, array, protos[alias]):
            return f"{found} (alias {alias!r})"
    return ""


def _response(data: bytes, value: Any, proto: Any) -> str:
    spec, outputs = value
    return _spec(spec, proto.model_spec) or _map(data, outputs, proto.outputs)


def _request(data: bytes, value: Any, proto: Any) -> str:
    spec, outputs, inputs = value
    if (spec is None) != (not proto.HasField("model_spec")):
        return "the model spec came or went"
    if list(outputs) != list(proto.output_filter):
        return "other outputs are wanted"
    return (_spec(spec, proto.model_spec) if spec is not None else "") or _map(data, inputs, proto.inputs)


def _refusable_map(name: str, number: int) -> Callable[[bytes, Any, Exception], bool]:
    """Whether a tensor of a map may be refused. Entries that a later one replaces count too: they are read."""

    def judge(data: bytes, proto: Any, error: Exception) -> bool:
        protos = getattr(proto, name)
        try:
            entries = sum(field == number for field, _, _, _ in walk(data))
        except ValueError:  # groups
            entries = -1
        if entries != len(protos):
            return True
        return any(_refusable_tensor(protos[alias].SerializeToString(), protos[alias], error) for alias in protos)

    return judge


def read_request(data: bytes) -> Any:
    """A PredictRequest with all its tensors, as the server reads one."""
    request = predict_messages.read_request(data)
    inputs = {alias: request.tensor(alias) for alias in request.inputs}
    request.good(inputs)
    return request.spec, request.outputs, inputs


def _wrong_request(data: bytes, value: Any, error: Exception | None) -> str:
    """A request's tensors are read when they are asked for, so one that a later one replaces is passed over."""
    found = wrong(predict_pb2.PredictRequest, reference.REQUEST, _request, _refusable_map("inputs", 2))(
        data, value, error
    )
    return "" if found == BEYOND and reference.replaces(data, 2) else found


# --- signatures


def _infos(protos: Any) -> dict[str, Any]:
    found = {}
    for alias, info in protos.items():
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)
        found[alias] = (info.dtype, sizes, info.name)
    return found


def _signatures(got: dict[str, Any], protos: Any) -> str:
    if got.keys() != set(protos):
        return f"other signatures: {sorted(got)[:9]}, not {sorted(protos)[:9]}"
    for name, (inputs, outputs, method, defaults) in got.items():
        proto = protos[name]
        for side, infos, wanted in (("inputs", inputs, proto.inputs), ("outputs", outputs, proto.outputs)):
            want = _infos(wanted)
            known = {
                alias: (number if number in BY_NUMBER else 0, sizes, tensor)
                for alias, (number, sizes, tensor) in want.items()
            }
            have = {alias: (row.number, sizes, tensor) for alias, (row, sizes, tensor) in infos.items()}
            if have != known:
                return f"other {side}: {str(have)[:300]}, not {str(known)[:300]}"
        if method != proto.method_name or defaults.keys() != set(proto.defaults):
            return "other method or defaults"
    return ""


def _metadata(data: bytes, value: Any, proto: Any) -> str:
    spec, signatures = value
    found = get_model_metadata_pb2.SignatureDefMap()
    if "signature_def" in proto.metadata:
        packed = proto.metadata["signature_def"]
        if packed.type_url.rpartition("/")[2] != "tensorflow.serving.SignatureDefMap":
            return "another type was read as signatures"
        bare_map = bare(get_model_metadata_pb2.SignatureDefMap, packed.value, reference.SIGNATURES)
        if bare_map is None:
            return "accepted signatures that protobuf refuses"
        found = bare_map
    return _spec(spec, proto.model_spec) or _signatures(signatures, found.signature_def)


def _refusable_metadata(data: bytes, proto: Any, error: Exception) -> bool:
    if "in at most" in str(error) or len(proto.metadata) != sum(1 for _ in _entries(data)):
        return True
    for name, packed in proto.metadata.items():
        if name == "signature_def":
            if packed.type_url.rpartition("/")[2] != "tensorflow.serving.SignatureDefMap":
                return True
            return accepted(get_model_metadata_pb2.SignatureDefMap, packed.value) is None
    return False


def _entries(data: bytes) -> Any:
    try:
        yield from [field for field, *_ in walk(data) if field == 2]
    except ValueError:
        yield None


def _read_saved_model(data: bytes) -> Any:
    found = saved_model_file.read(BytesIO(data))
    return None if found is None else {name: each.info for name, each in found.items()}


def _saved_model(data: bytes, value: Any, proto: Any) -> str:
    graph = next((graph for graph in proto.meta_graphs if set(graph.meta_info_def.tags) == {"serve"}), None)
    if (value is None) != (graph is None):
        return "another graph"
    return "" if graph is None else _signatures(value, graph.signature_def)


# --- the other replies, and examples


def _status(data: bytes, value: Any, proto: Any) -> str:
    want = [
        (
            each.version,
            State(each.state) if each.state in State._value2member_map_ else State.UNKNOWN,
            each.status.error_code if each.status.error_code in StatusCode._value2member_map_ else 2,
            each.status.error_message,
        )
        for each in proto.model_version_status
    ]
    got = [(each.version, each.state, int(each.code), each.message) for each in value.versions]
    return "" if sorted(map(str, got)) == sorted(map(str, want)) else f"other versions: {got[:5]}, not {want[:5]}"


def _rows(result: Any) -> list[list[tuple[str, float]]]:
    return [[(each.label, each.score) for each in row.classes] for row in result.classifications]


def _classified(data: bytes, value: Any, proto: Any) -> str:
    got = [[(each.label, each.score) for each in row] for row in value.classes]
    return "" if repr(got) == repr(_rows(proto.result)) else "other classes"


def _regressed(data: bytes, value: Any, proto: Any) -> str:
    want = [each.value for each in proto.result.regressions]
    return "" if repr(list(value.values)) == repr(want) else "other values"


def _inferred(data: bytes, value: Any, proto: Any) -> str:
    for got, result in zip(value, proto.results, strict=True):
        if result.WhichOneof("result") == "classification_result":
            rows = [[(each.label, each.score) for each in row] for row in got.classes]
            if repr(rows) != repr(_rows(result.classification_result)):
                return "other classes"
        elif repr(list(got.values)) != repr([each.value for each in result.regression_result.regressions]):
            return "other values"
    return ""


def _reloaded(data: bytes, value: Any, proto: Any) -> str:
    want = {each.name: each.int64_value_increase for each in proto.metric}
    return "" if dict(value.metrics) == want and not proto.status.error_code else "other metrics"


def _healthy(data: bytes, value: Any, error: Exception | None) -> str:
    want = 0
    try:
        for number, kind, start, _ in walk(data):
            if number == 1 and kind == 0:
                want = int.from_bytes(b"", "big") or _number(data, start)
    except ValueError:
        return ""  # groups, or no message; protobuf's verdict is not asked here
    if error is not None:
        return ""
    return "" if value is (Health(want) if want in Health._value2member_map_ else Health.UNKNOWN) else "another state"


def _number(data: bytes, at: int) -> int:
    value = reference.read_varint(data, at)[0] & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _examples(data: bytes, value: Any, proto: Any) -> str:
    kind = proto.WhichOneof("kind")
    want = list(getattr(proto, kind).examples) if kind else []
    if len(want) != len(value):
        return f"{len(value)} examples, not {len(want)}"
    for got, each in zip(value, want, strict=True):
        merged = Example()
        if kind == "example_list_with_context":
            merged.CopyFrom(proto.example_list_with_context.context)
        merged.MergeFrom(each)
        found = accepted(Example, got)
        if found is None or found.SerializeToString(deterministic=True) != merged.SerializeToString(deterministic=True):
            return "other examples"
    return ""


def _wrong_examples(data: bytes, value: Any, error: Exception | None) -> str:
    """Examples are for the model to read: what is wrong within one is passed over."""
    found = wrong(input_pb2.Input, None, _examples, lambda data, proto, error: "at most" in str(error))(
        data, value, error
    )
    if found == BEYOND:
        proto = bare(input_pb2.Input, data, reference.input_of)
        kind = proto and proto.WhichOneof("kind")
        count = len(getattr(proto, kind).examples) if kind else 0
        return found if proto is None else "" if count == len(value) else f"{len(value)} examples, not {count}"
    return found


def _known_size(data: bytes, proto: Any, error: Exception) -> bool:
    """Small messages are never refused; large ones may be, by a cap."""
    return len(data) > 2000 or "at most" in str(error)


def wire_readers() -> list[Reader]:
    """All of them."""
    spec = ModelSpec("m")
    signature_def_map = {"google.protobuf.Any.value": get_model_metadata_pb2.SignatureDefMap.DESCRIPTOR}

    def reader(name: str, valid: list[bytes], schema: Any, read: Any, judge: Any, **more: Any) -> Reader:
        return Reader(name, Mutations(valid, schema.DESCRIPTOR, more.pop("opened", None)), read, judge, **more)

    status = get_model_status_pb2.GetModelStatusResponse
    return [
        reader(
            "tensor",
            corpus.tensors(),
            TensorProto,
            tensor_codec.read,
            wrong(TensorProto, reference.TENSOR, _tensor, _refusable_tensor),
            wire=True,
        ),
        reader(
            "predict-reply",
            corpus.responses(),
            predict_pb2.PredictResponse,
            predict_messages.read_response,
            wrong(predict_pb2.PredictResponse, reference.RESPONSE, _response, _refusable_map("outputs", 1)),
            wire=True,
        ),
        reader(
            "predict-request",
            corpus.requests(),
            predict_pb2.PredictRequest,
            read_request,
            _wrong_request,
            wire=True,
        ),
        reader(
            "metadata",
            corpus.metadata(),
            get_model_metadata_pb2.GetModelMetadataResponse,
            signature_defs.read_response,
            wrong(get_model_metadata_pb2.GetModelMetadataResponse, reference.METADATA, _metadata, _refusable_metadata),
            opened=signature_def_map,
            growth=0,
            cost=2,
            wire=True,
        ),
        reader(
            "saved-model",
            corpus.saved_models(),
            SavedModel,
            _read_saved_model,
            wrong(SavedModel, reference.saved, _saved_model, lambda data, proto, error: "in at most" in str(error)),
            growth=0,
        ),
        reader(
            "model-spec",
            corpus.specs(),
            model_pb2.ModelSpec,
            model_spec.read,
            wrong(
                model_pb2.ModelSpec,
                reference.SPEC,
                lambda data, value, proto: _spec(value, proto),
                lambda data, proto, error: False,
            ),
        ),
        reader(
            "status",
            corpus.statuses(),
            status,
            GetModelStatus(spec).read,
            wrong(status, None, _status, _known_size),
            growth=0,
        ),
        reader(
            "classify",
            corpus.classifications(),
            classification_pb2.ClassificationResponse,
            Classify(spec, []).read,
            wrong(classification_pb2.ClassificationResponse, None, _classified, _known_size),
            growth=0,
        ),
        reader(
            "regress",
            corpus.regressions(),
            regression_pb2.RegressionResponse,
            Regress(spec, []).read,
            wrong(regression_pb2.RegressionResponse, None, _regressed, _known_size),
            growth=0,
        ),
        reader(
            "multi-inference",
            corpus.inferences(),
            inference_pb2.MultiInferenceResponse,
            MultiInference(spec, [], {"a": "classify", "b": "regress"}).read,
            wrong(
                inference_pb2.MultiInferenceResponse,
                None,
                _inferred,
                lambda data, proto, error: "expected a" in str(error) or len(proto.results) != 2,
            ),
            growth=0,
        ),
        reader(
            "reload",
            corpus.reloads(),
            model_management_pb2.ReloadConfigResponse,
            ReloadConfig(ModelServerConfig()).read,
            wrong(
                model_management_pb2.ReloadConfigResponse,
                None,
                _reloaded,
                lambda data, proto, error: isinstance(error, CallError) == bool(proto.status.error_code),
            ),
            growth=0,
        ),
        Reader("health", _health_inputs(), CheckHealth("").read, _healthy),
        Reader("config", Mutations([CONFIG.SerializeToString()], type(CONFIG).DESCRIPTOR), GetConfig().read, growth=0),
        reader(
            "examples",
            corpus.inputs(),
            input_pb2.Input,
            examples.read_input,
            _wrong_examples,
            growth=0,
        ),
    ]


def _health_inputs() -> Mutations:
    """Mutations of a health reply; an Int64Value looks like one."""
    from google.protobuf.wrappers_pb2 import Int64Value

    return Mutations([Int64Value(value=value).SerializeToString() for value in (1, 2)], Int64Value.DESCRIPTOR)
