"""Valid messages of every kind, as protobuf writes them: what mutations begin with."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client._codec.dtypes import ROWS
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
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
    prediction_log_pb2,
    regression_pb2,
)

from .reference_wire import FIELDS, dtype_of


def spec(message: Any, name: str = "m", version: int | None = None, label: str = "", signature: str = "") -> None:
    """Fill a ModelSpec."""
    message.name, message.signature_name = name, signature
    if version is not None:
        message.version.value = version
    if label:
        message.version_label = label


def tensors() -> list[bytes]:
    """Tensors of every dtype and of several shapes, in typed fields and as content; some without all values."""
    found = []
    rng = np.random.default_rng(7)
    for row in ROWS[1:]:
        dtype = dtype_of(row.number)
        for sizes in ((), (2,), (2, 3), (0,), (40,)):
            proto = TensorProto(dtype=row.number)
            proto.tensor_shape.SetInParent()
            for size in sizes:
                proto.tensor_shape.dim.add(size=size)
            count = int(np.prod(sizes))
            if row.field is not None:
                _fill(proto, row, count if len(sizes) != 1 else max(1, count - 1), rng)
            found.append(proto.SerializeToString())
            if dtype is None or sizes == (40,):
                continue
            proto.ClearField(FIELDS[row.field])
            content = (
                b"\x01\x02" + b"abc" if row.name == "string" else bytes(rng.integers(0, 2, count * dtype.itemsize))
            )
            proto.tensor_content = content if row.name != "string" or sizes == (2,) else b""
            found.append(proto.SerializeToString())
    return found + wide_integers()


def wide_integers() -> list[bytes]:
    """Tensors whose varints have from one to ten bytes."""
    found = []
    for number, low in ((9, -1 << 63), (23, 0)):
        for bits in range(6, 64, 7):
            proto = TensorProto(dtype=number)
            proto.tensor_shape.dim.add(size=3)
            values = getattr(proto, FIELDS[10 if number == 9 else 17])
            values.extend([(1 << bits) - 1, 1 << bits - 1, 1 << bits // 2])
            found.append(proto.SerializeToString())
            values.append(low)
            found.append(proto.SerializeToString())
    return found


def _fill(proto: Any, row: Any, count: int, rng: np.random.Generator) -> None:
    values = getattr(proto, FIELDS[row.field])
    if row.field == 8:
        values.extend(rng.bytes(int(size)) for size in rng.integers(0, 9, count))
    elif row.field == 18:
        proto.float8_val = rng.bytes(count)
    elif row.field in (5, 6, 9, 12):
        values.extend(rng.normal(size=count * (2 if row.field in (9, 12) else 1)).tolist())
    elif row.field == 11:
        values.extend([True] * count)
    else:
        high = 1 << (7 if row.field == 13 else 31)
        values.extend(rng.integers(0 if row.field > 13 else -high, high, count).tolist())


def _chosen(number: int, *, content: bool = False) -> TensorProto:
    """One tensor of shape (2,) of a dtype."""
    for data in tensors():
        proto = TensorProto.FromString(data)
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        if (proto.dtype, sizes, bool(proto.tensor_content)) == (number, [2], content):
            return proto
    raise KeyError(number)


def responses() -> list[bytes]:
    """PredictResponses."""
    found = []
    for content in (False, True):
        for numbers in ((1,), (1, 9), (7,), (10, 3, 19), (2, 4, 14), (8, 23)):
            reply = predict_pb2.PredictResponse()
            spec(reply.model_spec, "model", 3, signature="serving_default")
            for index, number in enumerate(numbers):
                reply.outputs["yzwv"[index]].CopyFrom(_chosen(number, content=content))
            found.append(reply.SerializeToString(deterministic=True))
    reply = predict_pb2.PredictResponse()
    spec(reply.model_spec, label="canary")
    reply.outputs["y"].dtype = 1
    reply.outputs["y"].float_val.extend([1.5])
    for size in (3, 4):
        reply.outputs["y"].tensor_shape.dim.add(size=size)
    found += [reply.SerializeToString(), b""]
    return found


def requests() -> list[bytes]:
    """PredictRequests."""
    found = []
    for content in (False, True):
        for numbers in ((1,), (1, 9), (7, 10)):
            request = predict_pb2.PredictRequest(output_filter=["y", "z"][: len(numbers) - 1])
            spec(request.model_spec, "m", 1 if content else None, signature="s")
            for index, number in enumerate(numbers):
                request.inputs["xw"[index]].CopyFrom(_chosen(number, content=content))
            found.append(request.SerializeToString(deterministic=True))
    return found


def server_requests() -> list[bytes]:
    """PredictRequests that half_plus_two answers."""
    request = predict_pb2.PredictRequest()
    spec(request.model_spec, "half_plus_two")
    request.inputs["x"].CopyFrom(_chosen(1))
    found = [request.SerializeToString()]
    request.inputs["x"].CopyFrom(_chosen(1, content=True))
    request.output_filter.append("y")
    return [*found, request.SerializeToString()]


def signature() -> SignatureDef:
    """A SignatureDef with all that one may have."""
    proto = SignatureDef(method_name="tensorflow/serving/predict")
    for alias, number, sizes in (("x", 1, (-1, 2)), ("s", 7, ()), ("ids", 9, (-1,))):
        info = proto.inputs[alias]
        info.name, info.dtype = f"{alias}:0", number
        info.tensor_shape.SetInParent()
        for size in sizes:
            info.tensor_shape.dim.add(size=size)
    proto.outputs["y"].name, proto.outputs["y"].dtype = "y:0", 1
    proto.outputs["y"].tensor_shape.unknown_rank = True
    proto.outputs["sparse"].coo_sparse.values_tensor_name = "v:0"
    proto.defaults["s"].CopyFrom(_chosen(7))
    return proto


def signature_map(*names: str) -> get_model_metadata_pb2.SignatureDefMap:
    """A SignatureDefMap."""
    found = get_model_metadata_pb2.SignatureDefMap()
    for name in names:
        found.signature_def[name].CopyFrom(signature())
    return found


def metadata() -> list[bytes]:
    """GetModelMetadataResponses."""
    found = []
    for names in (("serving_default",), ("a", "b")):
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        spec(reply.model_spec, "m", 7)
        reply.metadata["signature_def"].Pack(signature_map(*names))
        found.append(reply.SerializeToString(deterministic=True))
    return found


def saved_models() -> list[bytes]:
    """SavedModels."""
    proto = SavedModel(saved_model_schema_version=1)
    for tags in (("train",), ("serve",), ("serve", "gpu")):
        graph = proto.meta_graphs.add()
        graph.meta_info_def.tags.extend(tags)
        graph.meta_info_def.tensorflow_version = "2.16"
        graph.signature_def["serving_default"].CopyFrom(signature())
        graph.asset_file_def.add(filename="a.txt").tensor_info.name = "a:0"
        graph.collection_def["saved_model_main_op"].node_list.value.append("init")
    return [proto.SerializeToString(deterministic=True)]


def specs() -> list[bytes]:
    """ModelSpecs."""
    found = []
    for given in ({}, {"version": 3}, {"label": "canary"}, {"version": 0, "signature": "s"}):
        proto = model_pb2.ModelSpec()
        spec(proto, "name", **given)
        found.append(proto.SerializeToString())
    return found


def statuses() -> list[bytes]:
    """GetModelStatusResponses."""
    reply = get_model_status_pb2.GetModelStatusResponse()
    for version, state, code, text in ((1, 50, 5, "not found"), (2, 30, 0, ""), (3, 10, 0, "")):
        entry = reply.model_version_status.add(version=version, state=state)
        entry.status.error_code, entry.status.error_message = code, text
    return [reply.SerializeToString()]


def _classes(result: Any) -> None:
    for _ in range(2):
        row = result.classifications.add()
        row.classes.add(label="cat", score=0.5)
        row.classes.add(label="dog", score=0.25)


def classifications() -> list[bytes]:
    """ClassificationResponses."""
    reply = classification_pb2.ClassificationResponse()
    _classes(reply.result)
    spec(reply.model_spec, version=2)
    return [reply.SerializeToString()]


def regressions() -> list[bytes]:
    """RegressionResponses."""
    reply = regression_pb2.RegressionResponse()
    for value in (1.0, 2.5):
        reply.result.regressions.add(value=value)
    spec(reply.model_spec, version=2)
    return [reply.SerializeToString()]


def inferences() -> list[bytes]:
    """MultiInferenceResponses of a classification and a regression."""
    reply = inference_pb2.MultiInferenceResponse()
    _classes(reply.results.add().classification_result)
    reply.results.add().regression_result.regressions.add(value=3.0)
    for result in reply.results:
        spec(result.model_spec, version=1, signature="s")
    return [reply.SerializeToString()]


def reloads() -> list[bytes]:
    """ReloadConfigResponses."""
    good = model_management_pb2.ReloadConfigResponse()
    good.metric.add(name="/tensorflow/serving/request_count", int64_value_increase=3)
    bad = model_management_pb2.ReloadConfigResponse()
    bad.status.error_code, bad.status.error_message = 3, "no such path"
    return [good.SerializeToString(), bad.SerializeToString()]


def example() -> Example:
    """A tf.Example with every kind of feature."""
    proto = Example()
    feature = proto.features.feature
    feature["name"].bytes_list.value.append(b"ada")
    feature["x"].float_list.value.append(1.5)
    feature["y"].float_list.value.extend([1.5, -2.0])
    feature["n"].int64_list.value.extend([1, -1, 300])
    return proto


def inputs() -> list[bytes]:
    """Input messages."""
    plain, ranked = input_pb2.Input(), input_pb2.Input()
    plain.example_list.examples.extend([example(), example()])
    ranked.example_list_with_context.examples.extend([example(), Example()])
    ranked.example_list_with_context.context.CopyFrom(example())
    return [proto.SerializeToString(deterministic=True) for proto in (plain, ranked)]


def example_requests() -> list[bytes]:
    """ClassificationRequests; RegressionRequests look alike."""
    found = []
    for data in inputs():
        request = classification_pb2.ClassificationRequest()
        spec(request.model_spec, "half_plus_two", signature="classify_x_to_y")
        request.input.ParseFromString(data)
        found.append(request.SerializeToString(deterministic=True))
    return found


def inference_requests() -> list[bytes]:
    """MultiInferenceRequests."""
    request = inference_pb2.MultiInferenceRequest()
    for name, method in (("classify_x_to_y", "classify"), ("regress_x_to_y", "regress")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        spec(task.model_spec, "half_plus_two", signature=name)
    request.input.ParseFromString(inputs()[0])
    return [request.SerializeToString(deterministic=True)]


def metadata_requests() -> list[bytes]:
    """GetModelMetadataRequests."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    spec(request.model_spec, "half_plus_two")
    return [request.SerializeToString()]


def status_requests() -> list[bytes]:
    """GetModelStatusRequests."""
    request = get_model_status_pb2.GetModelStatusRequest()
    spec(request.model_spec, "half_plus_two", 1)
    return [request.SerializeToString()]


def reload_requests() -> list[bytes]:
    """ReloadConfigRequests."""
    request = model_management_pb2.ReloadConfigRequest(metric_names=["/tensorflow/serving/request_count"])
    config = request.config.model_config_list.config.add(name="m", base_path="/nowhere/at/all")
    config.model_platform = "tensorflow"
    config.model_version_policy.specific.versions.extend([1, 2])
    config.version_labels["stable"] = 1
    return [request.SerializeToString(deterministic=True)]


def logs() -> list[bytes]:
    """PredictionLogs, the records of a warmup file."""
    found = []
    for name, datas in (
        ("predict_log", requests()[:2]),
        ("classify_log", example_requests()),
        ("regress_log", example_requests()),
        ("multi_inference_log", inference_requests()),
    ):
        for data in datas:
            log = prediction_log_pb2.PredictionLog()
            getattr(log, name).request.ParseFromString(data)
            found.append(log.SerializeToString(deterministic=True))
    return found
