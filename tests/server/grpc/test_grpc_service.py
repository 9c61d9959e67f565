"""Both services on the wire: metadata, status, unknown methods, invalid bytes, records of calls."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tfs_client import DeadlineExceededError, PredictClient, StatusCode, TensorSpec, make_ndarray
from tfs_client.protos.tensorflow_serving.apis import get_model_metadata_pb2
from tfs_client.server import FunctionSignature, ServedCall, Server
from tfs_client.testing import FakeServer

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"


# --- GetModelMetadata ------------------------------------------------------------------------------------------------

METADATA_ROWS = {
    "1 no model_spec": (None, ["signature_def"], "INVALID_ARGUMENT", "Missing ModelSpec"),
    "1 before 2": (None, [], "INVALID_ARGUMENT", "Missing ModelSpec"),
    "2 no field": (
        {"name": "m"},
        [],
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "2 before 4": (
        {"name": "ghost"},
        [],
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "3 another field": (
        {"name": "m"},
        ["signature_def", "weights"],
        "INVALID_ARGUMENT",
        "Metadata field weights is not supported",
    ),
    "3 before 4": (
        {"name": "ghost"},
        ["weights"],
        "INVALID_ARGUMENT",
        "Metadata field weights is not supported",
    ),
    "R1": ({}, ["signature_def"], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "R3": (
        {"name": "m", "version_label": "nope"},
        ["signature_def"],
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: nope",
    ),
    "R4": (
        {"name": "m", "version": 3},
        ["signature_def"],
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 3)",
    ),
    "R5": ({"name": "ghost"}, ["signature_def"], "NOT_FOUND", "Servable not found for request: Latest(ghost)"),
}


@pytest.mark.parametrize("row", METADATA_ROWS)
def test_metadata_is_refused_with_the_model_servers_code_and_text(models, plain, refused, row):
    spec, fields, code, text = METADATA_ROWS[row]
    assert refused(plain.metadata, spec, fields) == (code, text)


def signature_defs(response):
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    found.ParseFromString(response.metadata["signature_def"].value)
    return found.signature_def


def test_metadata_holds_every_signature_with_its_defaults(models, plain):
    models.add_model(
        "opt",
        lambda t: t,
        inputs={"t": TensorSpec("string", (2, None), tensor_name="graph/t:0")},
        outputs={"t": TensorSpec("half", None)},
        signature="text",
        method_name="tensorflow/serving/regress",
    )
    found = signature_defs(plain.metadata({"name": "opt"}))
    assert set(found) == {"serving_default", "text"}
    default = found["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    assert set(default.inputs) == {"a", "b", "c"}
    assert default.inputs["a"].name == "serving_default_a:0"
    assert default.inputs["a"].dtype == 1
    assert [dim.size for dim in default.inputs["a"].tensor_shape.dim] == [-1]
    assert not default.inputs["a"].tensor_shape.unknown_rank
    assert {alias: make_ndarray(proto).tolist() for alias, proto in default.defaults.items()} == {"c": [100]}
    text = found["text"]
    assert text.method_name == "tensorflow/serving/regress"
    assert (text.inputs["t"].name, text.inputs["t"].dtype) == ("graph/t:0", 7)
    assert [dim.size for dim in text.inputs["t"].tensor_shape.dim] == [2, -1]
    assert text.outputs["t"].dtype == 19
    assert text.outputs["t"].tensor_shape.unknown_rank
    assert not text.defaults


def test_metadata_of_a_scalar_has_a_known_rank(models, plain):
    info = signature_defs(plain.metadata({"name": "m"}))["serving_default"].outputs["y"]
    assert info.HasField("tensor_shape")
    assert not info.tensor_shape.dim
    assert not info.tensor_shape.unknown_rank


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ({"name": "m"}, 2),
        ({"name": "m", "version": 1}, 1),
        ({"name": "m", "version_label": "stable"}, 1),
        ({"name": "m", "signature_name": "ignored"}, 2),
    ],
)
def test_the_reply_names_the_version_and_never_label_or_signature(models, plain, spec, version):
    answered = plain.metadata(spec).model_spec
    assert (answered.name, answered.version.value, answered.signature_name) == ("m", version, "")
    assert answered.WhichOneof("version_choice") == "version"


def test_repeating_the_field_is_harmless(models, plain):
    assert set(signature_defs(plain.metadata({"name": "m"}, ["signature_def"] * 2))) == {"serving_default"}


# --- GetModelStatus --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({}, "NOT_FOUND", "Could not find any versions of model "),
        ({"name": "ghost"}, "NOT_FOUND", "Could not find any versions of model ghost"),
        ({"name": "ghost", "version": 2}, "NOT_FOUND", "Could not find version 2 of model ghost"),
        ({"name": "m", "version": 7}, "NOT_FOUND", "Could not find version 7 of model m"),
        ({"name": "m", "version": 0}, "NOT_FOUND", "Could not find version 0 of model m"),
    ],
)
def test_status_is_refused_with_the_model_servers_code_and_text(models, plain, refused, spec, code, text):
    assert refused(plain.status, spec) == (code, text)


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ({"name": "m"}, [2, 1]),
        ({"name": "m", "version_label": "stable"}, [2, 1]),
        ({"name": "m", "version_label": "never heard of"}, [2, 1]),
        ({"name": "m", "version": 1}, [1]),
        ({"name": "m", "signature_name": "ignored"}, [2, 1]),
    ],
)
def test_status_lists_versions_highest_first_and_ignores_labels(models, plain, spec, versions):
    response = plain.status(spec)
    assert [entry.version for entry in response.model_version_status] == versions
    for entry in response.model_version_status:
        assert entry.state == 30
        assert entry.HasField("status")
        assert (entry.status.error_code, entry.status.error_message) == (0, "")


# --- what is no call of this API -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.PredictionService/PredictStreamed",
        "/tensorflow.serving.SessionService/SessionRun",
        "/tensorflow.ProfilerService/Profile",
        "/nope.Nope/Nope",
        "/grpc.health.v1.Health/Check",
    ],
)
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_unknown_methods_are_unimplemented_without_a_text(plain, refused, kind, path):
    def call():
        request = b"" if kind.startswith("unary") else iter([b""])
        reply = getattr(plain.channel, kind)(path)(request, timeout=20)
        return next(reply) if kind.endswith("stream") else reply

    assert refused(call) == ("UNIMPLEMENTED", "")


@pytest.mark.parametrize("path", [PREDICT, METADATA, STATUS])
@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 20, b"\x0a\x7f", b"\x0a\x02\x0a\x7f", b"\x0a\x03\x0a\x01\xff", b"\x00" * 9, b"\x0b"],
)
def test_invalid_bytes_are_an_error_and_do_not_hang(models, plain, refused, path, garbage):
    started = time.monotonic()
    code, text = refused(plain.raw, path, garbage)
    assert code == "INTERNAL"
    assert text.startswith("the request is not a message of ")
    assert time.monotonic() - started < 10
    assert plain.predict({"name": "m"})  # and the server goes on


def test_an_empty_message_lacks_its_model_spec(plain, refused):
    for path in (PREDICT, METADATA, STATUS):
        assert refused(plain.raw, path, b"") == ("INVALID_ARGUMENT", "Missing ModelSpec")


def test_unknown_fields_and_unused_ones_are_ignored(models, plain):
    spec = b"\x0a\x03\x0a\x01m"
    for extra in (b"\xfa\x07\x02hi", b"\x2a\x02\x08\x01", b"\x32\x01c", b"\x3a\x03\x0a\x01c"):
        plain.raw(PREDICT, spec + extra)
    assert [call.code for call in models.calls] == [StatusCode.OK] * 4


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_call_is_recorded_before_its_reply_is_sent(models, plain):
    plain.predict({"name": "two", "signature_name": "serving_default"}, {"a": np.float32([1]), "b": np.float32([2])})
    (call,) = models.calls
    assert isinstance(call, ServedCall)
    assert (call.method, call.model, call.version, call.signature) == ("Predict", "two", 1, "serving_default")
    assert {alias: array.tolist() for alias, array in call.inputs.items()} == {"a": [1], "b": [2]}
    assert {alias: array.tolist() for alias, array in call.outputs.items()} == {"y": [3], "z": [-1]}
    assert (call.code, call.details) == (StatusCode.OK, "")


def test_records_follow_the_order_of_calls_and_keep_metadata(models, plain):
    plain.status({"name": "m"})
    plain.metadata({"name": "m", "version_label": "stable"})
    plain.channel.unary_unary(STATUS)(b"\x0a\x03\x0a\x01m", metadata=(("key", "value"), ("raw-bin", b"\x01")))
    first, second, third = models.lookups
    assert (first.method, first.version) == ("GetModelStatus", None)
    assert (second.method, second.version) == ("GetModelMetadata", 1)
    assert (third.metadata["key"], third.metadata["raw-bin"]) == ("value", b"\x01")


def test_a_failed_call_keeps_the_inputs_it_came_with(fake_server, plain, refused):
    def fail(x):
        raise ValueError("no")

    fake_server.add_model("f", fail, inputs={"x": TensorSpec("float32")}, outputs={"y": TensorSpec("float32")})
    refused(plain.predict, {"name": "f"}, {"x": np.float32(5)})
    (call,) = fake_server.calls
    assert call.inputs["x"].tolist() == 5
    assert call.outputs == {}
    assert (call.code, call.details) == (StatusCode.INVALID_ARGUMENT, "ValueError: no")


def test_a_call_whose_deadline_passed_is_recorded_as_late(gated, gate):
    with PredictClient(gated.target, model="slow") as client, pytest.raises(DeadlineExceededError):
        client.predict({"x": [1.0]}, timeout=0.2)
    (call,) = gated.calls
    assert gate.entered.is_set()
    assert (call.code, call.details) == (StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    assert call.run_seconds is None


def test_a_cancelled_call_is_recorded_as_cancelled(gated, gate):
    with PredictClient(gated.target, model="slow") as client:
        running = client.predict_future({"x": [1.0]})
        assert gate.entered.wait(10)
        assert running.cancel()
    end = time.monotonic() + 10
    while not gated.calls and time.monotonic() < end:
        time.sleep(0.01)
    (call,) = gated.calls
    assert (call.code, call.details) == (StatusCode.CANCELLED, "the client gave up")


def test_an_observer_receives_every_call(connect, refused):
    heard = []
    with Server(observer=heard.append) as server:
        refused(connect(server.target).status, {"name": "ghost"})
    assert [(call.method, call.code) for call in heard] == [("GetModelStatus", StatusCode.NOT_FOUND)]


def test_a_servable_that_fails_by_mistake_is_internal(connect, refused):
    class Broken:
        @property
        def signatures(self):
            raise RuntimeError("a bug")

    with Server() as server:
        server.add_model("b", Broken())
        answer = refused(connect(server.target).predict, {"name": "b"})
    assert answer == ("INTERNAL", "RuntimeError: a bug")


def test_calls_run_at_the_same_time(connect):
    barrier = threading.Barrier(3)

    def meet(x):
        barrier.wait(10)
        return x

    with FakeServer() as server:
        server.add_model("f", meet, inputs={"x": TensorSpec("float32")}, outputs={"y": TensorSpec("float32")})
        plain = connect(server.target)
        threads = [threading.Thread(target=plain.predict, args=({"name": "f"}, {"x": np.float32(n)})) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
        assert [call.code for call in server.calls] == [StatusCode.OK] * 3


def test_a_failing_observer_does_not_affect_the_reply(connect):
    def fail(call):
        raise RuntimeError("no")

    with Server(observer=fail) as server:
        number = {"x": TensorSpec("int32", ())}
        server.add_model("m", {"serving_default": FunctionSignature(lambda x: x, number, number)})
        with PredictClient(server.target) as client:
            assert client.predict({"x": 7}, model="m").array == 7
