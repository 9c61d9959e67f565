"""Fakes against their models: TensorFlow runs a SavedModel, tfs-serve --fake has only its signatures.

Both get the same requests, made with a seed, over gRPC and REST, and must accept and refuse the same ones: with the
same code, the same text where no op wrote it, and outputs of the same names, dtypes and shapes.
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pytest
from peers.exported import quiet
from served_program import Program

from tfs_client import make_tensor_proto
from tfs_client.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

pytestmark = pytest.mark.peer

SEED, REQUESTS = 15, 200
MODEL = "several"
OWN, TEXT, PREDICT = "serving_default", "text", "tensorflow/serving/predict"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A SavedModel with several inputs, strings, unknown sizes, a default, classification and regression."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    def spec(dtype, shape, name):
        return tf.TensorSpec(shape, dtype, name)

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))

        @tf.function
        def predict(self, x, ids):
            return {"y": x @ self.weights, "label": tf.strings.as_string(tf.reduce_sum(ids, 1))}

        @tf.function
        def scaled(self, x, scale):
            return {"y": tf.reduce_sum(x, 1) * scale}

        @tf.function
        def text(self, t):
            return {"length": tf.strings.length(t), "lower": tf.strings.lower(t)}

        @tf.function
        def embed(self, b, a):
            return {"e": tf.one_hot(b, 3) + tf.reduce_sum(a)}

        @tf.function
        def anything(self, v):
            return {"w": v * 2}

        def _parsed(self, examples):
            feature = tf.io.FixedLenFeature([1], tf.float32, default_value=[1.0])
            return tf.io.parse_example(examples, {"x": feature})["x"]

        @tf.function
        def classify(self, inputs):
            x = self._parsed(inputs)
            return {"classes": tf.strings.as_string(tf.concat([x, x], 1)), "scores": tf.concat([x, x], 1)}

        @tf.function
        def regress(self, inputs):
            return {"outputs": self._parsed(inputs)}

    model, examples = Model(), spec(tf.string, [None], "inputs")
    signatures = {
        OWN: model.predict.get_concrete_function(spec(tf.float32, [None, 2], "x"), spec(tf.int64, [None, None], "ids")),
        "scaled": model.scaled.get_concrete_function(spec(tf.float32, [None, 2], "x"), spec(tf.float32, [], "scale")),
        TEXT: model.text.get_concrete_function(spec(tf.string, [None], "t")),
        "anything": model.anything.get_concrete_function(spec(tf.float32, None, "v")),
        "embed": model.embed.get_concrete_function(spec(tf.int64, [None, None], "b"), spec(tf.float32, [None], "a")),
        "classify": model.classify.get_concrete_function(examples),
        "regress": model.regress.get_concrete_function(examples),
    }
    path = tmp_path_factory.mktemp("models") / MODEL / "3"
    with quiet():
        tf.saved_model.save(model, str(path), signatures)
    file = path / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    graph = proto.meta_graphs[0]
    for name in ("classify", "regress"):
        graph.signature_def[name].method_name = f"tensorflow/serving/{name}"
    graph.signature_def["sparse"].CopyFrom(graph.signature_def["scaled"])
    graph.signature_def["sparse"].inputs["x"].coo_sparse.values_tensor_name = "serving_default_x:0"
    graph.signature_def["scaled"].defaults["scale"].CopyFrom(tf.make_tensor_proto(np.float32(2)))
    file.write_bytes(proto.SerializeToString())
    return path.parent


@pytest.fixture(scope="module")
def programs(folder, tmp_path_factory):
    """The real server and the fake one."""
    flags = ([f"--model_name={MODEL}", f"--model_base_path={folder}"], [f"--fake={folder}"])
    started = [Program(tmp_path_factory.mktemp("program"), *each, rest=True) for each in flags]
    yield started
    for program in started:
        program.close()


# --- requests --------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """A request, and whether the texts of its refusals must be the same."""

    kind: str
    send: tuple[str, ...]
    body: bytes
    same_text: bool = True


def inputs_of(rng, signature) -> dict[str, Any]:
    """Right inputs of a signature."""
    rows = rng.randrange(0, 4)
    x = np.float32([[rng.random(), 1]] * rows).reshape(rows, 2)
    return {
        OWN: {"x": x, "ids": np.ones((rows, rng.randrange(3)), np.int64)},
        "scaled": {"x": x, "scale": np.float32(3)},
        TEXT: {"t": np.array([b"Ab"] * rows, object)},
        "anything": {"v": np.ones((2,) * rng.randrange(4), np.float32)},
    }[signature]


PREDICT_KINDS = """right right missing extra misnamed dtype shape filter filters twice signature init version label
    model no-model content values negative rank type string nothing"""
REST_KINDS = """right rows text right-text missing extra letters float ragged shape signature json empty list version
    model label classify regress no-examples metadata status other-metadata get scaled null twice"""
SIGNATURES = (OWN, "scaled", TEXT, "anything")
OUTPUTS = {OWN: ("y", "label"), "scaled": ("y",), TEXT: ("length", "lower"), "anything": ("w",)}


def predict_request(signature, inputs, outputs=()):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = MODEL, signature
    for alias, value in inputs.items():
        request.inputs[alias].ParseFromString(make_tensor_proto(value).SerializeToString())
    return request


def predict(rng: random.Random) -> Request:
    """A Predict request over gRPC that is right, or wrong in one way."""
    signature = rng.choice(SIGNATURES)
    inputs = inputs_of(rng, signature)
    request = predict_request(signature, inputs)
    alias = rng.choice(sorted(inputs))
    kind = rng.choice(PREDICT_KINDS.split())
    tensor = request.inputs[alias]
    if kind in ("missing", "misnamed"):
        if kind == "misnamed":
            request.inputs[alias.upper()].CopyFrom(tensor)
        del request.inputs[alias]
    elif kind == "extra":
        request.inputs["more"].CopyFrom(tensor)
    elif kind == "dtype":
        other = rng.choice([np.float64, np.int32, np.bool_, np.uint8])
        tensor.ParseFromString(make_tensor_proto(np.ones(np.shape(inputs[alias]), other)).SerializeToString())
    elif kind == "shape":  # that ops refuse; those that none refuses have a separate test
        request = predict_request(OWN, inputs_of(rng, OWN) | {"x": np.ones(rng.choice([(3, 5), (2, 1)]), np.float32)})
    elif kind == "filter":
        request.output_filter.append(rng.choice(["z", "", alias]))
    elif kind == "filters":
        request.output_filter.append(rng.choice(OUTPUTS[signature]))
    elif kind == "twice":
        request.output_filter.extend([OUTPUTS[signature][0]] * 2)
    elif kind == "signature":
        request.model_spec.signature_name = rng.choice(["nope", "Serving_default", "classify"])
    elif kind == "init":
        request.model_spec.signature_name = "__saved_model_init_op"
        request.ClearField("inputs")
    elif kind == "version":
        request.model_spec.version.value = rng.choice([3, 4, -1, 0])
    elif kind == "label":
        request.model_spec.version_label = rng.choice(["stable", "x"])
    elif kind == "model":
        request.model_spec.name = rng.choice(["nope", MODEL.upper()])
    elif kind == "no-model":
        request.ClearField("model_spec")
    elif kind == "content":
        tensor.tensor_content = rng.choice([b"abc", b"\0" * 5])
    elif kind == "values":
        tensor.ClearField("tensor_content")
        tensor.float_val.extend([1, 2, 3, 4, 5, 6, 7])
    elif kind == "negative":
        tensor.tensor_shape.ClearField("dim")
        tensor.tensor_shape.dim.add(size=-rng.randrange(1, 4))
    elif kind == "rank":
        tensor.tensor_shape.unknown_rank = True
    elif kind == "type":
        tensor.dtype = rng.choice([0, 20, 99])
    elif kind == "string":
        tensor.string_val.append(b"x")
    elif kind == "nothing":
        request.ClearField("inputs")
    body = request.SerializeToString()
    return Request(f"predict {kind}", ("Predict",), body, same_text=kind not in ("shape", "init"))


def inference(rng: random.Random) -> Request:
    """A Classify, Regress or MultiInference request over gRPC."""
    method = rng.choice(["Classify", "Regress", "MultiInference"])
    kinds = {
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
    }
    request = kinds[method]()
    names = ["classify", "regress"] if method == "MultiInference" else [method.lower()]
    kind = rng.choice(["right", "right", "signature", "empty", "model", "version", "other"])
    specs = []
    for name in names:
        if method == "MultiInference":
            request.tasks.add(method_name=f"tensorflow/serving/{name}")
            specs.append(request.tasks[-1].model_spec)
        else:
            specs.append(request.model_spec)
        specs[-1].name = "nope" if kind == "model" else MODEL
        specs[-1].signature_name = {"signature": "nope", "other": rng.choice([OWN, TEXT, "scaled"])}.get(kind, name)
        if kind == "version":
            specs[-1].version.value = 8
    for _ in range(0 if kind == "empty" else rng.randrange(1, 4)):
        example = request.input.example_list.examples.add()
        if rng.random() < 0.7:
            example.features.feature["x"].float_list.value.append(rng.random())
    return Request(f"{method} {kind}", (method,), request.SerializeToString())


def lookup(rng: random.Random) -> Request:
    """A GetModelMetadata or GetModelStatus request over gRPC."""
    method = rng.choice(["GetModelMetadata", "GetModelStatus"])
    kind = rng.choice(["right", "model", "version", "label", "field"])
    if method == "GetModelStatus":
        request: Any = get_model_status_pb2.GetModelStatusRequest()
    else:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=[rng.choice(["", "graph"]) if kind == "field" else "signature_def"]
        )
    request.model_spec.name = "nope" if kind == "model" else MODEL
    if kind == "version":
        request.model_spec.version.value = rng.choice([3, 5])
    if kind == "label":
        request.model_spec.version_label = "stable"
    return Request(f"{method} {kind}", (method,), request.SerializeToString())


def rest(rng: random.Random) -> Request:
    """A request over REST."""
    rows = rng.randrange(1, 4)
    x, ids = [[1.5, 2.0]] * rows, [[1, 2]] * rows
    values: dict[str, Any] = {"inputs": {"x": x, "ids": ids}}
    path, verb = f"/v1/models/{MODEL}:predict", "POST"
    kind = rng.choice(REST_KINDS.split())
    if kind == "rows":
        values = {"instances": [{"x": [1, 2], "ids": [3]}] * rows}
    elif kind in ("text", "right-text"):
        values = {"signature_name": TEXT, "instances": ["A", {"b64": "QQ=="}] if kind == "right-text" else [1, "A"]}
    elif kind == "missing":
        del values["inputs"]["ids"]
    elif kind == "extra":
        values["inputs"]["z"] = 1
    elif kind == "letters":
        values["inputs"]["x"] = [["a", "b"]] * rows
    elif kind == "float":
        values["inputs"]["ids"] = [[1.5]] * rows
    elif kind == "ragged":
        values["inputs"]["x"] = [[1, 2], [3]]
    elif kind == "shape":
        values["inputs"]["x"] = [[1, 2, 3]] * rows
    elif kind == "signature":
        values["signature_name"] = "nope"
    elif kind == "list":
        values = {"instances": 5}
    elif kind == "version":
        path = f"/v1/models/{MODEL}/versions/{rng.choice([3, 7])}:predict"
    elif kind == "label":
        path = f"/v1/models/{MODEL}/labels/stable:predict"
    elif kind == "model":
        path = "/v1/models/nope:predict"
    elif kind in ("classify", "regress", "no-examples"):
        method = "classify" if kind == "no-examples" else kind
        values = {"signature_name": method, "examples": [] if kind == "no-examples" else [{"x": 2.5}, {}][:rows]}
        path = f"/v1/models/{MODEL}:{method}"
    elif kind in ("metadata", "status", "other-metadata", "get"):
        path = {
            "metadata": f"/v1/models/{MODEL}/metadata",
            "status": f"/v1/models/{MODEL}",
            "other-metadata": f"/v1/models/{MODEL}/versions/9/metadata",
            "get": f"/v1/models/{MODEL}:predict",
        }[kind]
        verb = "GET"
    elif kind == "scaled":
        values = {"signature_name": "scaled", "inputs": {"x": x, "scale": 2}}
    elif kind == "null":
        values["inputs"]["x"] = None
    elif kind == "twice":
        values["instances"] = []
    body = {"json": b"{", "empty": b""}.get(kind, json.dumps(values).encode())
    return Request(f"rest {kind}", (verb, path), body, same_text=kind != "shape")


def requests() -> list[Request]:
    rng = random.Random(SEED)
    makers = [predict] * 5 + [rest] * 4 + [inference, inference, lookup]
    return [makers[number % len(makers)](rng) for number in range(REQUESTS)]


# --- answers ---------------------------------------------------------------------------------------------------------

SERVICE = "/tensorflow.serving.PredictionService/"


def answer(program: Program, channel: grpc.Channel, request: Request) -> tuple[object, str, object]:
    """The code, the text of a refusal, and what must be equal in an answer."""
    if len(request.send) == 1:
        (method,) = request.send
        service = SERVICE.replace("Prediction", "Model") if method == "GetModelStatus" else SERVICE
        try:
            reply = channel.unary_unary(f"{service}{method}")(request.body, timeout=60)
        except grpc.RpcError as error:
            return error.code(), error.details(), None
        return grpc.StatusCode.OK, "", comparable(method, reply)
    verb, path = request.send
    content = {} if verb == "GET" else {"content": request.body}
    response = httpx.request(verb, f"{program.rest_url}{path}", timeout=60, **content)
    if response.status_code != 200:
        return response.status_code, response.text, None
    return 200, "", layout(response.json()) if verb == "POST" else response.json()


def comparable(method: str, reply: bytes) -> object:
    if method == "Predict":
        proto = predict_pb2.PredictResponse.FromString(reply)
        outputs = {alias: (each.dtype, str(each.tensor_shape)) for alias, each in proto.outputs.items()}
        return outputs, str(proto.model_spec)
    if method == "Classify":
        found = classification_pb2.ClassificationResponse.FromString(reply)
        return [len(each.classes) for each in found.result.classifications], str(found.model_spec)
    if method == "Regress":
        regressions = regression_pb2.RegressionResponse.FromString(reply)
        return len(regressions.result.regressions), str(regressions.model_spec)
    if method == "MultiInference":
        results = inference_pb2.MultiInferenceResponse.FromString(reply).results
        return [(str(each.model_spec), each.WhichOneof("result")) for each in results]
    if method == "GetModelMetadata":
        found = get_model_metadata_pb2.GetModelMetadataResponse.FromString(reply)
        signatures = get_model_metadata_pb2.SignatureDefMap.FromString(found.metadata["signature_def"].value)
        return str(found.model_spec), signatures.SerializeToString(deterministic=True)
    return reply


def layout(value: object) -> object:
    """The form of JSON: keys, kinds of values, and lengths of lists."""
    if isinstance(value, dict):
        return {key: layout(each) for key, each in value.items()}
    if isinstance(value, list):
        return [layout(each) for each in value]
    return "text" if isinstance(value, str) else "number"


def test_a_fake_and_its_model_accept_and_refuse_the_same_requests(programs):
    real, fake = programs
    accepted, kinds, differences = 0, set(), []
    with grpc.insecure_channel(real.target) as one, grpc.insecure_channel(fake.target) as other:
        for request in requests():
            want, got = answer(real, one, request), answer(fake, other, request)
            accepted += want[0] in (200, grpc.StatusCode.OK)
            kinds.add(request.kind)
            if want[0] != got[0] or want[2] != got[2] or (request.same_text and want[1] != got[1]):
                differences.append(f"{request.kind}: expected {want}, got {got}")
    assert not differences, "\n".join(differences)
    assert 50 < accepted < 150
    assert len(kinds) > 60


SPARSE = {"x": np.ones((2, 2), np.float32), "scale": np.float32(1)}
IDS = {"b": np.ones((2, 7), np.int64), "a": np.ones(2, np.float32)}
SAME = {
    "sizes of an input with fewer axes": ("Predict", "embed", IDS),
    "a sparse input": ("Predict", "sparse", SPARSE),
    "a sparse input of another shape": ("Predict", "sparse", SPARSE | {"x": np.ones(5, np.float32)}),
}


@pytest.mark.parametrize("name", SAME)
def test_a_fake_answers_and_refuses_as_its_model(programs, name):
    method, signature, inputs = SAME[name]
    answers = []
    for program in programs:
        with grpc.insecure_channel(program.target) as channel:
            body = predict_request(signature, inputs).SerializeToString()
            answers.append(answer(program, channel, Request(name, (method,), body)))
    assert answers[0] == answers[1]
    assert (answers[0][0] is grpc.StatusCode.OK) is (signature == "embed")


def test_a_fake_blames_the_same_input_of_a_column(programs):
    body = json.dumps({"signature_name": "embed", "inputs": {"h": [1.0]}}).encode()
    request = Request("column", ("POST", f"/v1/models/{MODEL}:predict"), body)
    real, fake = (answer(program, None, request) for program in programs)
    assert real == fake
    assert real[0] == 400


SHAPES = [
    (OWN, {"x": np.ones((2, 2), np.float32), "ids": np.ones((2, 2, 2), np.int64)}),
    (TEXT, {"t": np.full((2, 2), b"A", object)}),
]


@pytest.mark.parametrize(("signature", "inputs"), SHAPES, ids=["a reduction", "an op for any shape"])
def test_a_fake_refuses_shapes_that_contradict_the_signature_even_if_no_op_does(programs, signature, inputs):
    request = Request("shape", ("Predict",), predict_request(signature, inputs).SerializeToString())
    codes = []
    for program in programs:
        with grpc.insecure_channel(program.target) as channel:
            codes.append(answer(program, channel, request)[0])
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT]


def test_a_fake_accepts_what_only_an_op_refuses(programs):
    """Here an Example whose feature has two values instead of one; the signature takes any string."""
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, "regress"
    request.input.example_list.examples.add().features.feature["x"].float_list.value.extend([1, 2])
    codes = []
    for program in programs:
        with grpc.insecure_channel(program.target) as channel:
            codes.append(answer(program, channel, Request("op", ("Regress",), request.SerializeToString()))[0])
    assert codes == [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK]


def test_the_start_of_a_fake_says_what_it_is(programs, folder):
    line = f"Model {MODEL} version 3 is a fake made of {folder}: it checks requests and returns zeros"
    assert line in programs[1].log
