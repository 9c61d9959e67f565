"""Classify, Regress and MultiInference, from Python values to results, against models that parse tf.Examples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import (
    ClassScore,
    ConfigError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    ModelVersion,
    PredictClient,
    TensorSpec,
    UnimplementedError,
)
from tfs_client._codec import examples as codec
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.steps import Send
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.protos.tensorflow_serving.apis.input_pb2 import Input
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS
from tfs_client.signatures import CLASSIFY, REGRESS
from tfs_client.testing import FakeServer

STRINGS = {"inputs": TensorSpec("string", (None,))}


@pytest.fixture(scope="module")
def client() -> Iterator[PredictClient]:
    with Server() as server:
        for name, signatures in MODELS.items():
            server.add_model(name, signatures())
        with PredictClient(server.target, model="half_plus_two", timeout=20) as client:
            yield client


def x_of(value: float) -> bytes:
    example = Example()
    example.features.feature["x"].float_list.value.append(value)
    return example.SerializeToString()


@pytest.mark.parametrize(
    "examples",
    [
        [{"x": 2.0}, {"x": 10.0}],
        [{"x": [2.0]}, {"x": np.float32([10])}],
        {"x": [2.0, 10.0]},
        {"x": np.array([2.0, 10.0])},
        {"x": np.array([[2.0], [10.0]])},
        [x_of(2.0), x_of(10.0)],
        [Example.FromString(x_of(2.0)), x_of(10.0)],
        ({"x": value} for value in (2.0, 10.0)),
    ],
    ids=["rows", "lists", "column", "array", "matrix", "bytes", "messages", "generator"],
)
def test_regress_takes_examples_in_any_form(client: PredictClient, examples: Any) -> None:
    result = client.regress(examples, signature="regress_x_to_y")
    assert result.values == (3.0, 7.0)
    assert result.model == ModelVersion("half_plus_two", 1, "regress_x_to_y")
    assert str(result) == "Regression of half_plus_two version 1: 3.0000, 7.0000"


def test_classify_gives_labels_and_scores(client: PredictClient) -> None:
    pixels = [0.0] * 64
    result = client.classify([{"image": pixels}], model="digits", signature="classify")
    (classes,) = result.classes
    assert [found.label for found in classes] != []
    assert classes[0] == result.best[0]
    assert sum(found.score for found in classes) == pytest.approx(1)
    assert str(result).startswith("Classification of digits version 1\n  ")


def test_scores_without_classes_have_empty_labels(client: PredictClient) -> None:
    result = client.classify([{"x": 2.0}], signature="classify_x_to_y")
    assert result.classes == ((ClassScore("", 3.0),),)


def test_multi_inference_runs_several_signatures_on_the_same_examples(client: PredictClient) -> None:
    results = client.multi_inference(
        [{"x": 2.0}, {"x": 4.0}], tasks={"regress_x_to_y": "regress", "classify_x_to_y": "classify"}
    )
    assert results["regress_x_to_y"].values == (3.0, 4.0)
    assert [row[0].score for row in results["classify_x_to_y"].classes] == [3.0, 4.0]
    assert results["classify_x_to_y"].model.signature == "classify_x_to_y"


def test_a_context_is_shared_and_an_examples_own_feature_wins(client: PredictClient) -> None:
    result = client.regress([{}, {"x": 10.0}], context={"x": 2.0}, signature="regress_x_to_y")
    assert result.values == (3.0, 7.0)


def test_tasks_are_named(client: PredictClient) -> None:
    with pytest.raises(
        ConfigError, match="expected 'classify' or 'regress' for the task of signature 's', got 'guess'"
    ):
        client.multi_inference([{"x": 1.0}], tasks={"s": "guess"})


@pytest.mark.parametrize(
    ("examples", "text"),
    [
        ("x", "expected examples as a list of mappings"),
        (5, "expected examples as a list of mappings"),
        ({"x": 2.0}, "feature 'x': a column has a value for each example .*got float"),
        ({"x": [1.0, 2.0], "y": [1.0]}, "expected columns of one length"),
        ([5], "example 0: expected a mapping"),
        (
            [{"x": 1.0}, {"x": 1j}],
            "example 1: feature 'x': expected int64, float32 or bytes for an example, got complex128",
        ),
        ([{"x": [1, "a"]}], "example 0: feature 'x': "),
        ([{5: 1.0}], "example 0: expected a feature's name of type str"),
        ([{"x": np.uint64([1 << 63])}], "got uint64"),
    ],
)
def test_values_that_an_example_cannot_hold_are_named(client: PredictClient, examples: Any, text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        client.regress(examples)


def test_examples_are_what_protobuf_makes_of_them() -> None:
    row = {
        "i": 5,
        "is": [-1, 1 << 40],
        "flag": True,
        "f": 1.5,
        "fs": np.array([1.0, 2.0]),
        "s": "ä",
        "b": b"a\0",
        "bs": ["x", b"y"],
        "none": None,
    }
    features = Example.FromString(codec.write(row)).features.feature
    assert list(features["i"].int64_list.value) == [5]
    assert list(features["is"].int64_list.value) == [-1, 1 << 40]
    assert list(features["flag"].int64_list.value) == [1]
    assert list(features["f"].float_list.value) == [1.5]
    assert list(features["fs"].float_list.value) == [1.0, 2.0]
    assert list(features["s"].bytes_list.value) == ["ä".encode()]
    assert list(features["b"].bytes_list.value) == [b"a\0"]
    assert list(features["bs"].bytes_list.value) == [b"x", b"y"]
    assert "none" not in features


def test_inputs_are_what_protobuf_makes_of_them() -> None:
    examples = [x_of(1.0), x_of(2.0)]
    plain = Input.FromString(codec.write_input(examples))
    assert [example.SerializeToString() for example in plain.example_list.examples] == examples
    shared = Input.FromString(codec.write_input(examples, x_of(3.0)))
    assert shared.example_list_with_context.context.SerializeToString() == x_of(3.0)
    assert codec.read_input(plain.SerializeToString()) == examples
    assert codec.read_input(shared.SerializeToString()) == [x_of(3.0) + example for example in examples]
    assert codec.read_input(b"") == []
    with pytest.raises(DecodeError):
        codec.read_input(b"\x0a\x05")


def test_a_garbage_reply_is_a_decode_error(raw_server: Any) -> None:
    target = raw_server(Classify=lambda request, context: b"\xff", MultiInference=lambda request, context: b"")
    with PredictClient(target, model="m", timeout=5) as client:
        with pytest.raises(DecodeError, match="the reply of Classify is not a ClassificationResponse"):
            client.classify([{"x": 1.0}])
        with pytest.raises(DecodeError, match="expected 1 results of MultiInference, got 0"):
            client.multi_inference([{"x": 1.0}], tasks={"s": "regress"})


def model(server: FakeServer, outputs: dict[str, Any], *, name: str = "m", **options: Any) -> None:
    specs = {alias: TensorSpec(np.asarray(value).dtype, None) for alias, value in outputs.items()}
    fn = options.pop("fn", None) or (lambda **inputs: outputs)
    inputs = options.pop("inputs", STRINGS)
    server.add_model(name, fn, inputs=inputs, outputs=specs, **options)


F = np.float32
TWO = [{"x": 1.0}, {"x": 2.0}]
WORDS = np.array([["a"], ["b"]], object)


@pytest.mark.parametrize(
    ("call", "outputs", "text"),
    [
        ("classify", {"a": F([1]), "b": F([1]), "c": F([1])}, "Expected one or two output Tensors, found 3"),
        ("classify", {"other": F([1])}, "Expected classification signature outputs to contain at least one of "),
        ("classify", {"scores": F([1, 2])}, "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("classify", {"classes": F([[1], [2]])}, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("classify", {"classes": WORDS[:1]}, "Expected classes output batch size of 2. Got: 1"),
        ("classify", {"scores": np.float64([[1], [2]])}, "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("classify", {"scores": F([[1]])}, "Expected scores output batch size of 2. Got: 1"),
        (
            "classify",
            {"classes": WORDS, "scores": F([[1, 2], [3, 4]])},
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        ),
        ("regress", {"outputs": F([1]), "b": F([1])}, "Expected one output Tensor."),
        ("regress", {"other": F([1])}, "No regression outputs found in SignatureDef: "),
        (
            "regress",
            {"outputs": F([[1, 2], [3, 4]])},
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        ("regress", {"outputs": F([1])}, "Input batch size did not match output batch size: 2 vs. 1"),
        ("regress", {"outputs": np.float64([1, 2])}, "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_outputs_that_are_not_classes_or_values_are_refused_as_by_serving(
    fake_server: FakeServer, call: str, outputs: dict[str, Any], text: str
) -> None:
    model(fake_server, outputs)
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InvalidArgumentError) as caught:
        getattr(client, call)(TWO)
    assert caught.value.details.startswith(text)


@pytest.mark.parametrize("call", ["classify", "regress"])
def test_the_signature_is_checked_before_the_examples(fake_server: FakeServer, call: str) -> None:
    values = {"classify": {"scores": F([[1]])}, "regress": {"outputs": F([1])}}[call]
    number = TensorSpec("string", (None,))
    model(fake_server, values)
    model(fake_server, values, signature="two_in", inputs={"inputs": number, "b": number})
    model(fake_server, values, signature="other_in", inputs={"x": number})
    words = {"classify": "classification", "regress": "regression"}[call]
    with PredictClient(fake_server.target, model="m") as client:
        for signature, text in [
            ("nope", "No signature was found with the name: nope"),
            ("two_in", "Expected one input Tensor."),
            ("other_in", f"No {words} inputs found in SignatureDef: "),
            (None, "Input is empty."),
        ]:
            with pytest.raises(InvalidArgumentError) as caught:
                getattr(client, call)([], signature=signature)
            assert caught.value.details.startswith(text)
        with pytest.raises(InvalidArgumentError, match="Input is empty"):
            getattr(client, call)([], context={"x": 1.0})


def test_multi_inference_checks_its_tasks_in_order(fake_server: FakeServer) -> None:
    from tfs_client.protos.tensorflow_serving.apis import inference_pb2

    model(fake_server, {"outputs": F([1])}, signature="r")
    model(fake_server, {"scores": F([[1]])}, signature="c")

    def send(*tasks: tuple[str, str, str]) -> Any:
        request = inference_pb2.MultiInferenceRequest()
        for name, signature, method in tasks:
            task = request.tasks.add(method_name=method)
            task.model_spec.name, task.model_spec.signature_name = name, signature
        path = "/tensorflow.serving.PredictionService/MultiInference"
        return client._performer.transport.call(Send(path, request.SerializeToString(), Deadline(10))).body

    with PredictClient(fake_server.target, model="m") as client:
        for tasks, kind, text in [
            ((), InvalidArgumentError, "ModelSpec has no name specified."),
            (
                (("m", "r", REGRESS), ("", "c", CLASSIFY)),
                InvalidArgumentError,
                "Found ModelSpec with an empty model name.",
            ),
            (
                (("m", "r", REGRESS), ("n", "c", CLASSIFY)),
                InvalidArgumentError,
                "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            ),
            ((("m", "r", REGRESS), ("m", "r", REGRESS)), InvalidArgumentError, "Duplicate evaluation of signature: r"),
            ((("m", "z", REGRESS),), InvalidArgumentError, "Requested signature not found in model graph: z"),
            ((("m", "r", "guess"),), UnimplementedError, "Unsupported signature method_name: guess"),
            ((("m", "c", REGRESS),), InvalidArgumentError, "No regression outputs found in SignatureDef: "),
            ((("m", "r", REGRESS),), InvalidArgumentError, "Input is empty."),
        ]:
            with pytest.raises(kind) as caught:
                send(*tasks)
            assert caught.value.details.startswith(text), tasks


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        spec, examples = codec.read_request(data)
        assert spec is None or isinstance(spec, bytes)
        assert all(isinstance(example, bytes) for example in examples)


def test_a_context_cannot_be_multiplied_endlessly() -> None:
    data = codec.write_input([b""] * 100_000, b"c" * 100_000)
    with pytest.raises(DecodeError, match="expected examples of at most"):
        codec.read_input(data)


def test_examples_are_sent_as_strings_regardless_of_the_signature(fake_server):
    floats = {"inputs": TensorSpec("float32", (None,))}
    fake_server.add_model(
        "m", lambda inputs: inputs, inputs=floats, outputs={"outputs": TensorSpec("float32", (None,))}
    )
    with (
        PredictClient(fake_server.target, model="m", timeout=20) as client,
        pytest.raises(InvalidArgumentError, match=r"Expects arg\[0\] to be float but string is provided"),
    ):
        client.regress([{"x": 1.0}])
