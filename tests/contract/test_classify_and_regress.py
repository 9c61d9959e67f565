"""Classify and Regress for every way of calling: examples from Python values, the same results."""

from __future__ import annotations

import numpy as np
import pytest
from calling import GRPC, STYLES, calling

from tfs_client import Classification, ClassScore, EncodeError, InvalidArgumentError, ModelVersion, Regression
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.server.embedded import MODELS
from tfs_client.signatures import CLASSIFY, REGRESS, TensorSpec
from tfs_client.testing import FakeServer

STRINGS = {"inputs": TensorSpec("string", (None,))}


def features(data):
    """A feature's values by name, each list as (kind, values)."""
    found = {}
    for name, feature in Example.FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return found


@pytest.fixture(scope="module")
def server():
    seen = []

    def keep(inputs):
        seen.extend(map(features, inputs))
        return np.zeros(len(inputs), np.float32)

    def label(inputs):
        return {
            "classes": np.array([[b"cat", b"dog"]] * len(inputs), object),
            "scores": np.float32([[0.25, 0.75]] * len(inputs)),
        }

    with FakeServer() as server:
        server.server.add_model("half_plus_two", MODELS["half_plus_two"]())
        scores = {"outputs": TensorSpec("float32", (None,))}
        server.add_model("keep", keep, inputs=STRINGS, outputs=scores, method_name=REGRESS)
        both = {"classes": TensorSpec("string", (None, 2)), "scores": TensorSpec("float32", (None, 2))}
        server.add_model("label", label, inputs=STRINGS, outputs=both, method_name=CLASSIFY)
        server.seen = seen
        yield server


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def client(server, style):
    server.seen.clear()
    with calling(style, server, model="half_plus_two", timeout=20) as client:
        yield client


@pytest.mark.parametrize("examples", [[{"x": 2.0}, {"x": 10.0}], {"x": [2.0, 10.0]}, {"x": np.float32([2, 10])}])
def test_regress_gives_a_value_for_each_example(client, style, examples):
    result = client.regress(examples, signature="regress_x_to_y")
    version = None if style.startswith("rest") else 1
    assert result == Regression((3.0, 7.0), ModelVersion("half_plus_two", version, "regress_x_to_y"))


def test_classify_gives_labels_and_scores(client):
    result = client.classify([{}, {"x": 1}], model="label")
    assert isinstance(result, Classification)
    assert result.classes == ((ClassScore("cat", 0.25), ClassScore("dog", 0.75)),) * 2
    assert result.best == (ClassScore("dog", 0.75),) * 2


def test_every_kind_of_feature_keeps_its_kind(client, server):
    client.regress(
        [
            {
                "int": 3,
                "ints": [1, -(2**63), 2**63 - 1],
                "flag": True,
                "float": 2.0,
                "floats": np.float32([1.5, np.inf, -np.inf]),
                "text": "é",
                "bytes": [b"\xff\x00", "a"],
                "none": None,
                "numpy": np.int8(-5),
            },
            {},
        ],
        model="keep",
    )
    first, second = server.seen
    assert first == {
        "int": ("int64_list", [3]),
        "ints": ("int64_list", [1, -(2**63), 2**63 - 1]),
        "flag": ("int64_list", [1]),
        "float": ("float_list", [2.0]),
        "floats": ("float_list", [1.5, np.inf, -np.inf]),
        "text": ("bytes_list", ["é".encode()]),
        "bytes": ("bytes_list", [b"\xff\x00", b"a"]),
        "numpy": ("int64_list", [-5]),
    }
    assert second == {}


@pytest.mark.parametrize("style", GRPC)
def test_several_signatures_answer_in_one_call(client):
    tasks = {"regress_x_to_y": "regress", "classify_x_to_y": "classify"}
    results = client.multi_inference([{"x": 2.0}], tasks=tasks)
    assert results["regress_x_to_y"].values == (3.0,)
    assert results["classify_x_to_y"].classes[0][0].score == 3.0


def test_a_context_is_shared_and_an_examples_own_feature_wins(client, server):
    client.regress([{"x": 1}, {"who": "me"}], context={"who": "all"}, model="keep")
    assert [seen["who"][1] for seen in server.seen] == [[b"all"], [b"me"]]


def test_serialized_examples_are_sent_unchanged(client, server):
    example = Example()
    example.features.feature["x"].float_list.value.append(0.1)
    client.regress([example.SerializeToString(), example], model="keep")
    assert server.seen == [{"x": ("float_list", [float(np.float32(0.1))])}] * 2


def test_a_bad_feature_is_named(client):
    with pytest.raises(EncodeError, match="example 1: feature 'y': expected int64, float32 or bytes for an example"):
        client.regress([{"x": 1}, {"y": 1j}])


def test_refusals_say_what_the_signatures_expect(client):
    with pytest.raises(InvalidArgumentError, match="No signature was found with the name: ghost") as caught:
        client.regress([{"x": 1.0}], signature="ghost")
    assert "The model has the signatures" in caught.value.hint
    with pytest.raises(InvalidArgumentError) as caught:
        client.classify([{"x": 1.0}])
    assert "expects tensors" in caught.value.hint
    assert "regress_x_to_y" in caught.value.hint
    with pytest.raises(InvalidArgumentError):
        client.regress([], model="keep")
