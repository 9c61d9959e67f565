"""Predict: every refusal with the model server's code, text and order, and the shape of the reply.

Cases are numbered in the order of the checks: R1-R5 resolve the model (model_servers/server_core.cc), 1-8 check the
rest (servables/tensorflow/predict_impl.cc and predict_util.cc).
"""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import TensorSpec, make_ndarray
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

ONE = np.float32([1])
WRONG = np.float64([1])
BROKEN = TensorProto(dtype=1, tensor_content=b"abc")  # no whole float

SPEC = {"name": "two"}
BOTH = {"a": ONE, "b": ONE}

ROWS = {
    "1 no model_spec": (None, BOTH, (), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "R1 empty name": ({}, BOTH, (), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "R1 before the label": (
        {"version_label": "nope"},
        BOTH,
        (),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "R3 unknown label": (
        {"name": "m", "version_label": "nope"},
        {},
        (),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: nope",
    ),
    "R3 unknown model with label": (
        {"name": "ghost", "version_label": "stable"},
        {},
        (),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "R4 version not there": (
        {"name": "m", "version": 7},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 7)",
    ),
    "R4 version zero": (
        {"name": "m", "version": 0},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 0)",
    ),
    "R4 negative version": (
        {"name": "m", "version": -1},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Specific(m, -1)",
    ),
    "R4 unknown model with version": (
        {"name": "ghost", "version": 1},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Specific(ghost, 1)",
    ),
    "R4 through a label": (
        {"name": "m", "version_label": "gone"},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 9)",
    ),
    "R5 unknown model": ({"name": "ghost"}, {}, (), "NOT_FOUND", "Servable not found for request: Latest(ghost)"),
    "R before 3": (
        {"name": "ghost", "signature_name": "nope"},
        {},
        (),
        "NOT_FOUND",
        "Servable not found for request: Latest(ghost)",
    ),
    "3 no such signature": (
        {"name": "two", "signature_name": "nope"},
        BOTH,
        (),
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
    "3 before 5": (
        {"name": "two", "signature_name": "nope"},
        {"c": ONE},
        ("nope",),
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
    "5 the worked example": (
        SPEC,
        {"c": ONE},
        (),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({c}) != len({a,b}). "
        "Sent extra: {c}. Missing but required: {a,b}.",
    ),
    "5 nothing sent": (
        SPEC,
        {},
        (),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}.",
    ),
    "5 too many": (
        SPEC,
        BOTH | {"c": ONE, "B": ONE},
        (),
        "INVALID_ARGUMENT",
        "input size does not match signature: 4!=2 len({B,a,b,c}) != len({a,b}). "
        "Sent extra: {B,c}. Missing but required: {}.",
    ),
    "5 too many with defaults": (
        {"name": "opt"},
        BOTH | {"d": ONE, "e": ONE},
        (),
        "INVALID_ARGUMENT",
        "input size does not match signature: 4!=3 len({a,b,d,e}) != len({a,b,c}). "
        "Sent extra: {d,e}. Missing but required: {}.",
    ),
    "5 before 6b": (
        SPEC,
        {"a": BROKEN},
        (),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}.",
    ),
    "6a wrong name, right count": (
        SPEC,
        {"a": ONE, "c": ONE},
        (),
        "INVALID_ARGUMENT",
        "Signature input alias: b(feed name: serving_default_b:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {a,c}, or default input alias set: ",
    ),
    "6a with defaults": (
        {"name": "opt"},
        {"a": ONE},
        (),
        "INVALID_ARGUMENT",
        "Signature input alias: b(feed name: serving_default_b:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {a}, or default input alias set: c",
    ),
    "6b undecodable": (SPEC, {"a": ONE, "b": BROKEN}, (), "INVALID_ARGUMENT", "tensor parsing error: b"),
    "6b invalid dtype": (SPEC, {"a": ONE, "b": TensorProto()}, (), "INVALID_ARGUMENT", "tensor parsing error: b"),
    "6b reference dtype": (
        SPEC,
        {"a": ONE, "b": TensorProto(dtype=101)},
        (),
        "INVALID_ARGUMENT",
        "tensor parsing error: b",
    ),
    "6c leftover name": (
        {"name": "opt"},
        BOTH | {"d": ONE},
        (),
        "INVALID_ARGUMENT",
        "Inputs contains invalid name. Used request inputs: a,b, request input: a,b,d",
    ),
    "6 before 7": (SPEC, {"a": ONE, "b": BROKEN}, ("nope",), "INVALID_ARGUMENT", "tensor parsing error: b"),
    "7a unknown output": (
        SPEC,
        BOTH,
        ("y", "nope"),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: nope Outputs expected to be in the set {y,z}.",
    ),
    "7a before a later 7b": (
        SPEC,
        BOTH,
        ("nope", "y", "y"),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: nope Outputs expected to be in the set {y,z}.",
    ),
    "7b before a later 7a": (SPEC, BOTH, ("y", "y", "nope"), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    "7b repeated output": (SPEC, BOTH, ("z", "z"), "INVALID_ARGUMENT", "duplicate output tensor alias: z"),
    "7 before 8a": (
        SPEC,
        {"a": ONE, "b": WRONG},
        ("nope",),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: nope Outputs expected to be in the set {y,z}.",
    ),
    "8a wrong dtype": (
        SPEC,
        {"a": ONE, "b": WRONG},
        (),
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but double is provided",
    ),
    "8a the lowest rank": (
        SPEC,
        {"a": np.int64([1]), "b": WRONG},
        (),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but int64 is provided",
    ),
    "8a a string": (
        SPEC,
        {"a": ONE, "b": "text"},
        (),
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but string is provided",
    ),
    "8a half": (
        SPEC,
        {"a": ONE, "b": np.float16([1])},
        (),
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but half is provided",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_refusal_has_the_model_servers_code_and_text(models, plain, refused, row):
    spec, inputs, outputs, code, text = ROWS[row]
    assert refused(plain.predict, spec, inputs, outputs) == (code, text)


def test_a_refusal_is_recorded_with_the_same_text(models, plain, refused):
    refused(plain.predict, SPEC, {"c": ONE})
    call = models.calls[-1]
    assert (call.method, call.model, call.version, call.code.name) == ("Predict", "two", 1, "INVALID_ARGUMENT")
    assert call.details.startswith("input size does not match signature: 1!=2")


def test_r2_a_label_on_a_server_without_models(fake_server, plain, refused):
    spec = {"name": "m", "version_label": "stable"}
    assert refused(plain.predict, spec) == ("UNAVAILABLE", "Model labels does not init yet.stable")


def test_8a_ranks_by_tensor_names_not_by_aliases(fake_server, plain, refused):
    inputs = {
        "a": TensorSpec("float32", (None,), tensor_name="zz:0"),
        "b": TensorSpec("float32", (None,), tensor_name="aa:0"),
    }
    fake_server.add_model("n", lambda a, b: a, inputs=inputs, outputs={"y": TensorSpec("float32")})
    wrong = {"a": WRONG, "b": np.int64([1])}
    text = "Expects arg[0] to be float but int64 is provided"
    assert refused(plain.predict, {"name": "n"}, wrong) == ("INVALID_ARGUMENT", text)
    text = "Expects arg[1] to be float but double is provided"
    assert refused(plain.predict, {"name": "n"}, {"a": WRONG, "b": ONE}) == ("INVALID_ARGUMENT", text)


def test_8b_a_signature_without_outputs(fake_server, plain, refused):
    fake_server.add_model("init", lambda x: {}, inputs={"x": TensorSpec("float32")}, outputs={})
    text = "Must specify at least one target to fetch or execute."
    assert refused(plain.predict, {"name": "init"}, {"x": ONE}) == ("INVALID_ARGUMENT", text)
    text = "Expects arg[0] to be float but double is provided"  # 8a comes first
    assert refused(plain.predict, {"name": "init"}, {"x": WRONG}) == ("INVALID_ARGUMENT", text)


def test_4_the_method_name_is_checked_only_when_asked_for(connect, refused):
    text = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: odd/method"
    )
    for check, method, answer in (
        (False, "odd/method", None),
        (True, "tensorflow/serving/regress", None),
        (True, "odd/method", ("INTERNAL", text)),
    ):
        with FakeServer(ServerConfig(method_name_check=check)) as server:
            specs = {"inputs": {"x": TensorSpec("float32")}, "outputs": {"y": TensorSpec("float32")}}
            server.add_model("odd", lambda x: x, method_name=method, **specs)
            plain = connect(server.target)
            if answer is None:
                assert make_ndarray(plain.predict({"name": "odd"}, {"x": ONE}).outputs["y"]).tolist() == [1]
            else:
                assert refused(plain.predict, {"name": "odd"}, {"wrong": ONE, "more": ONE}) == answer  # before 5


# --- what is not refused ---------------------------------------------------------------------------------------------


def test_shapes_are_not_checked(models, plain):
    reply = plain.predict(SPEC, {"a": np.float32([[1, 2], [3, 4]]), "b": np.float32(1)})
    assert make_ndarray(reply.outputs["y"]).tolist() == [[2, 3], [4, 5]]


def test_a_signature_without_inputs_takes_an_empty_map(models, plain):
    assert make_ndarray(plain.predict({"name": "m"}).outputs["y"]).tolist() == 2


def test_defaults_are_used_only_for_inputs_that_are_not_sent(models, plain):
    assert make_ndarray(plain.predict({"name": "opt"}, BOTH).outputs["y"]).tolist() == [102]
    reply = plain.predict({"name": "opt"}, BOTH | {"c": np.float32([5])})
    assert make_ndarray(reply.outputs["y"]).tolist() == [7]


def test_only_the_named_outputs_are_sent(models, plain):
    assert list(plain.predict(SPEC, BOTH, ["z"]).outputs) == ["z"]
    assert set(plain.predict(SPEC, BOTH).outputs) == {"y", "z"}


# --- the model_spec of the reply -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "version", "signature"),
    [
        ({"name": "m"}, 2, "serving_default"),
        ({"name": "m", "version": 1}, 1, "serving_default"),
        ({"name": "m", "version_label": "stable"}, 1, "serving_default"),
        ({"name": "m", "signature_name": "serving_default"}, 2, "serving_default"),
    ],
)
def test_the_reply_names_the_version_that_answered(models, plain, spec, version, signature):
    answered = plain.predict(spec).model_spec
    assert (answered.name, answered.version.value, answered.signature_name) == ("m", version, signature)
    assert answered.WhichOneof("version_choice") == "version"


def test_the_last_of_version_and_label_on_the_wire_wins(models, plain):
    name, version, label = b"\x0a\x01m", b"\x12\x02\x08\x02", b"\x22\x06stable"
    path = "/tensorflow.serving.PredictionService/Predict"
    for order, answered in ((name + version + label, 1), (name + label + version, 2)):
        plain.raw(path, b"\x0a" + bytes([len(order)]) + order)
        assert models.calls[-1].version == answered
        assert models.calls[-1].code.name == "OK"


def test_a_version_without_value_is_version_zero(models, plain, refused):
    spec = b"\x0a\x01m\x12\x00"
    answer = refused(plain.raw, "/tensorflow.serving.PredictionService/Predict", b"\x0a" + bytes([len(spec)]) + spec)
    assert answer == ("NOT_FOUND", "Servable not found for request: Specific(m, 0)")


# --- encoding --------------------------------------------------------------------------------------------------------

VALUES = {
    "float_val": np.float32([[1.5, -2]]),
    "double_val": np.float64([1.5]),
    "int_val": np.int8([-1, 2]),
    "int64_val": np.int64([-1, 1 << 40]),
    "bool_val": np.array([True, False]),
    "half_val": np.float16([1, -2]),
    "uint32_val": np.uint32([1 << 31]),
    "uint64_val": np.uint64([1 << 63]),
    "scomplex_val": np.complex64([1 + 2j]),
    "dcomplex_val": np.complex128([1 + 2j]),
    "string_val": np.array([b"a", b"", b"\xff"], object),
}


def tensor_echo(array, content, connect):
    with FakeServer(ServerConfig(tensor_content=content)) as server:
        spec = TensorSpec("string" if array.dtype == object else array.dtype)
        server.add_model("echo", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
        return connect(server.target).predict({"name": "echo"}, {"x": array}).outputs["y"]


@pytest.mark.parametrize("field", VALUES)
def test_by_default_answers_use_typed_fields(connect, field):
    array = VALUES[field]
    proto = tensor_echo(array, False, connect)
    present = {descriptor.name for descriptor, _ in proto.ListFields()}
    assert present == {"dtype", "tensor_shape", field}
    assert [dim.size for dim in proto.tensor_shape.dim] == list(array.shape)
    per_value = 2 if "complex" in field else 1
    assert len(getattr(proto, field)) == per_value * array.size
    np.testing.assert_array_equal(make_ndarray(proto), array)


@pytest.mark.parametrize("field", VALUES)
def test_by_option_answers_use_tensor_content_strings_included(connect, field):
    array = VALUES[field]
    proto = tensor_echo(array, True, connect)
    assert {descriptor.name for descriptor, _ in proto.ListFields()} == {"dtype", "tensor_shape", "tensor_content"}
    if field == "string_val":
        assert proto.tensor_content == b"\x01\x00\x01" + b"a" + b"" + b"\xff"
    else:
        assert proto.tensor_content == array.tobytes()


@pytest.mark.parametrize("content", [False, True], ids=["typed", "content"])
def test_scalars_have_a_shape_without_dimensions_and_empty_tensors_no_values(connect, content):
    scalar = tensor_echo(np.float32(3), content, connect)
    assert scalar.HasField("tensor_shape")
    assert not scalar.tensor_shape.dim
    empty = tensor_echo(np.zeros((0, 2), np.float32), content, connect)
    assert {descriptor.name for descriptor, _ in empty.ListFields()} == {"dtype", "tensor_shape"}
    assert [dim.size for dim in empty.tensor_shape.dim] == [0, 2]


def test_typed_fields_are_never_shortened(connect):
    proto = tensor_echo(np.full(50, 7, np.int32), False, connect)
    assert list(proto.int_val) == [7] * 50


def test_a_short_typed_field_in_a_request_fills_the_whole_tensor(models, plain):
    short = TensorProto(dtype=1, float_val=[1, 2])
    short.tensor_shape.dim.add(size=4)
    assert make_ndarray(plain.predict(SPEC, {"a": short, "b": np.float32(0)}).outputs["y"]).tolist() == [1, 2, 2, 2]
