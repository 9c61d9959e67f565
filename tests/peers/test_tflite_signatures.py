"""The signatures of TensorFlow Lite models, by TensorFlow Serving's rules."""

from __future__ import annotations

import logging
from importlib import import_module

import numpy as np
import pytest
from hostile.flexbuffer_maps import written
from peers.lite_files import FLOAT, HALF, INT32, lite_file, load, refused, signature_def, sum_file, tensor

from tfs_client import PredictClient, StatusCode, TensorSpec
from tfs_client.server import Server, ServerConfig
from tfs_client.server.backends.flexbuffers import read_strings

pytestmark = pytest.mark.peer

ONE = np.ones(1, np.float32)


@pytest.fixture
def served(tmp_path):
    """Loads the model of a file, ``served(content)``, and closes it in the end."""
    made = []

    def make(content, **options):
        made.append(load(tmp_path, content, **options))
        return made[-1]

    yield make
    for servable in made:
        servable.close()


def sums(**defs):
    return sum_file(signature_defs=defs)


def test_the_metadata_names_inputs_and_outputs(served):
    proto = signature_def({"left": "a:0", "right": "b"}, {"total": "y:0"}, sizes=(-1, 3))
    servable = served(sums(serving_default=proto))
    assert {alias: spec.tensor_name for alias, spec in servable.signatures["serving_default"].inputs.items()} == {
        "left": "a",
        "right": "b",
    }
    assert dict(servable.signatures["serving_default"].outputs) == {"total": TensorSpec("float32", (None, 3))}
    answer = servable.run("serving_default", {"left": ONE, "right": ONE}, ["total"])
    assert answer["total"].tolist() == [2]


def test_clients_see_the_signatures_of_the_metadata(served):
    servable = served(sums(first=signature_def({"left": "a", "right": "b"}, {"total": "y"}, method_name="mine")))
    with Server(ServerConfig()) as server:
        server.add_model("m", servable)
        with PredictClient(server.target, model="m", timeout=30) as client:
            signature = client.signatures()["first"]
            answer = client.predict({"left": [1.0, 2.0], "right": [1.0, 1.0]}, signature="first").array
    assert signature.method_name == "mine"
    assert signature.inputs["left"] == TensorSpec("float32", (None,))
    assert answer.tolist() == [2, 3]


def test_a_model_may_have_several_signatures(served):
    servable = served(sums(one=signature_def({"x": "a"}, {"y": "y"}), two=signature_def({"x": "b"}, {"y": "y"})))
    assert set(servable.signatures) == {"one", "two"}
    for name in ("one", "two"):
        assert servable.run(name, {"x": ONE}, ["y"])["y"].tolist() == [1]


def test_an_input_missing_in_a_signature_is_zero_regardless_of_earlier_calls(served):
    whole = signature_def({"a": "a", "b": "b"}, {"y": "y"})
    servable = served(sums(whole=whole, part=signature_def({"a": "a"}, {"y": "y"})))
    servable.run("whole", {"a": ONE, "b": 7 * ONE}, ["y"])
    assert servable.run("part", {"a": ONE}, ["y"])["y"].tolist() == [1]


def test_tensors_whose_names_end_with_an_output_are_taken_by_their_whole_names(served):
    proto = signature_def({"x0": "t:0", "x1": "t:1"}, {"y": "y"})
    servable = served(sum_file("t:0", "t:1", signature_defs={"serving_default": proto}))
    assert [spec.tensor_name for spec in servable.signatures["serving_default"].inputs.values()] == ["t:0", "t:1"]


def test_a_signature_may_leave_dtypes_out(served):
    servable = served(sums(serving_default=signature_def({"a": "a", "b": "b"}, {"y": "y"}, dtype=0)))
    assert servable.signatures["serving_default"].inputs["a"].row.name == "float"


@pytest.mark.parametrize(
    ("proto", "code", "text"),
    [
        (
            signature_def({"x": "nothing:0"}, {"y": "y"}),
            StatusCode.INTERNAL,
            "Unknown tensor 'nothing:0'.\n\tSignature input x references an unknown tensor",
        ),
        (
            signature_def({"x": "y"}, {"y": "y"}),
            StatusCode.INTERNAL,
            "Unknown tensor 'y'.\n\tSignature input x references an unknown tensor",
        ),
        (
            signature_def({"a": "a"}, {"z": "a"}),
            StatusCode.INTERNAL,
            "Unknown tensor 'a'.\n\tSignature output z references an unknown tensor",
        ),
        (
            signature_def({"a": "a"}, {"y": "y"}, sizes=(0,)),
            StatusCode.INVALID_ARGUMENT,
            "Invalid SignatureDefs found in TfLite model: Cannot parse signature def found in flatbuffer.",
        ),
        (
            signature_def({"a": "a"}, {"y": "y"}, dtype=9),
            StatusCode.INVALID_ARGUMENT,
            "signature 's': input 'a' is declared as int64, but its tensor 'a' is float",
        ),
        (
            signature_def({"a": "a", "b": "a:0"}, {"y": "y"}),
            StatusCode.INVALID_ARGUMENT,
            "signature 's': the inputs 'a' and 'b' are the same tensor, 'a'",
        ),
    ],
    ids=["unknown", "not an input", "not an output", "zero byte", "other dtype", "one tensor"],
)
def test_a_signature_that_does_not_fit_the_model_fails_the_load(tmp_path, proto, code, text):
    assert refused(load, tmp_path, sums(s=proto)) == (code, text)


@pytest.mark.parametrize(
    "metadata", [b"", written({b"s": b"\x0a"}), written({b"s": b"abc"})[3:]], ids=["empty", "no message", "cut"]
)
def test_damaged_metadata_fails_the_load(tmp_path, metadata):
    code, details = refused(load, tmp_path, sum_file(metadata=metadata))
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Invalid SignatureDefs found in TfLite model: ")


def test_maps_are_read_as_by_flatbuffers():
    flexbuffers = import_module("flatbuffers.flexbuffers")
    values = {f"key{number}": "x" * number for number in range(300)}
    others = {"number": 7, "list": [1, 2, 3], "map": {"a": "b"}, "float": 1.5}
    found = read_strings(bytes(flexbuffers.Dumps({**values, **others})))
    assert {key.decode(): value.decode() for key, value in found.items()} == {**values, **dict.fromkeys(others, "")}


def test_tensors_of_the_same_name_fail_the_load(tmp_path):
    assert refused(load, tmp_path, sum_file("x", "x")) == (
        StatusCode.ALREADY_EXISTS,
        "Input tensor name: x has multiple indices",
    )


def test_a_tensor_of_a_type_that_serving_does_not_know_fails_the_load(tmp_path):
    content = lite_file([tensor("x", HALF), tensor("y", FLOAT)], [], [0], [0])
    assert refused(load, tmp_path, content) == (StatusCode.INTERNAL, "Unknown TfLite type: 10")


def test_a_model_without_metadata_gets_one_signature_with_the_names_of_its_tensors(served, caplog):
    with caplog.at_level(logging.WARNING):
        servable = served(sum_file("a:0", "in/b:1", "y", kind=INT32, own=("train", "infer")))
    (signature,) = servable.signatures.values()
    assert signature.method_name == "tensorflow/serving/predict"
    assert dict(signature.inputs) == {"a": TensorSpec("int32", (1,)), "in/b": TensorSpec("int32", (1,))}
    assert dict(signature.outputs) == {"y": TensorSpec("int32", (1,))}
    assert signature.inputs["a"].tensor_name == "a:0"
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "No signature def found in TFLite model. Generating one."
    assert second.endswith(
        "('train', 'infer'), only the metadata signature_defs_metadata. The inputs are 'a', 'in/b', and the outputs 'y'"
    )


def test_metadata_that_is_not_a_map_counts_as_none(served):
    assert set(served(sum_file(metadata=b"\x07\x04\x01")).signatures) == {"serving_default"}


def test_of_tensors_with_the_same_alias_the_last_one_gets_it(served, caplog):
    signature = served(sum_file("t:0", "t:1")).signatures["serving_default"]
    assert {alias: spec.tensor_name for alias, spec in signature.inputs.items()} == {"t": "t:1"}
    assert caplog.messages[-1].endswith(": calls cannot name 't:0', because another tensor has the same alias")
