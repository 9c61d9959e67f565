"""TensorFlow Lite models that parse tf.Examples by the custom op of the model server."""

from __future__ import annotations

import numpy as np
import pytest
from peers.lite_files import FLOAT, INT64, TEXT, lite_file, load, refused, signature_def, tensor

from tfs_client import PredictClient, StatusCode
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.server import Server, ServerConfig

pytestmark = pytest.mark.peer

NONE = tensor("none", TEXT, (0,), [])
KEYS = tensor("dense_keys", TEXT, (2,), [b"x", b"name"])
DEFAULTS = [tensor("x_default", FLOAT, (2,), np.float32([-1, -2])), tensor("name_default", TEXT, (1,), [b"missing"])]
DENSE = [tensor("x", FLOAT, (1, 2)), tensor("name", TEXT, (1, 1))]


def example(x=None, name=None, ids=()):
    proto = Example()
    feature = proto.features.feature
    if x is not None:
        feature["x"].float_list.value.extend(x)
    if name is not None:
        feature["name"].bytes_list.value.append(name)
    if ids:
        feature["ids"].int64_list.value.extend(ids)
    return proto.SerializeToString()


def dense_file(**more):
    """Two features, parsed by the op's second version: x and its double, and name."""
    tensors = [tensor("examples", TEXT), NONE, KEYS, *DEFAULTS, *DENSE, tensor("twice", FLOAT, (1, 2))]
    ops = [("ParseExampleV2", [0, 1, 1, 2, 1, 3, 4], [5, 6]), (0, [5, 5], [7])]
    return lite_file(tensors, ops, [0], [5, 6, 7], **more)


def first_version_file():
    """The same features and a sparse one, by the first version, in which every key is a tensor."""
    keys = [tensor(f"{key}_key", TEXT, (1,), [key.encode()]) for key in ("ids", "x", "name")]
    sparse = [tensor("indices", INT64, (1, 2)), tensor("values", INT64), tensor("shape", INT64, (2,))]
    tensors = [tensor("examples", TEXT), NONE, *keys, *DEFAULTS, *sparse, *DENSE]
    return lite_file(tensors, [("ParseExample", [0, 1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11])], [0], [7, 8, 9, 10, 11])


def one_feature_file(default, *, feature=(1, 2), ops=1):
    """The feature x, with a default, parsed once or several times."""
    tensors = [tensor("examples", TEXT), NONE, tensor("keys", TEXT, (1,), [b"x"]), default]
    outputs = [*range(4, 4 + ops)]
    tensors += [tensor(f"x{output}", FLOAT, feature) for output in outputs]
    return lite_file(tensors, [("ParseExampleV2", [0, 1, 1, 2, 1, 3], [output]) for output in outputs], [0], outputs)


def parsed(servable, *examples):
    signature = servable.signatures["serving_default"]
    (alias,) = signature.inputs
    answer = servable.run("serving_default", {alias: np.array(examples, object)}, [*signature.outputs])
    return {alias: array.tolist() for alias, array in answer.items()}


@pytest.fixture
def dense(tmp_path):
    servable = load(tmp_path, dense_file())
    yield servable
    servable.close()


def test_features_are_parsed_and_fed_to_the_model(dense):
    assert parsed(dense, example([1, 2], b"a\0"), example(name=b"b"), example([3, 4])) == {
        "x": [[1, 2], [-1, -2], [3, 4]],
        "twice": [[2, 4], [-2, -4], [6, 8]],
        "name": [[b"a\0"], [b"b"], [b"missing"]],
    }
    assert parsed(dense, example([5, 6])) == {"x": [[5, 6]], "twice": [[10, 12]], "name": [[b"missing"]]}


def test_a_call_without_examples_has_outputs_without_rows(dense):
    assert parsed(dense) == {"x": [], "twice": [], "name": []}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff", "Could not parse example input, value: '\ufffd'"),
        (example([1, 2, 3]), "Key: x"),
    ],
    ids=["no example", "too many values"],
)
def test_examples_that_do_not_fit_fail_the_call_alone(dense, data, text):
    code, details = refused(parsed, dense, data)
    assert code is StatusCode.INTERNAL
    assert details.startswith("Failed to invoke TfLite interpreter. ")
    assert text in details
    assert parsed(dense, example([1, 2]))["x"] == [[1, 2]]


def test_the_first_version_of_the_op_and_sparse_features(tmp_path):
    servable = load(tmp_path, first_version_file())
    assert parsed(servable, example([1, 2], b"a", ids=[7]), example(ids=[8, 9])) == {
        "indices": [[0, 0], [1, 0], [1, 1]],
        "values": [7, 8, 9],
        "shape": [2, 2],
        "x": [[1, 2], [-1, -2]],
        "name": [[b"a"], [b"missing"]],
    }
    servable.close()


def test_several_ops_may_parse_the_same_examples(tmp_path):
    servable = load(tmp_path, one_feature_file(DEFAULTS[0], ops=2))
    assert parsed(servable, example([1, 2])) == {"x4": [[1, 2]], "x5": [[1, 2]]}
    servable.close()


def test_a_feature_without_a_default_is_required(tmp_path):
    servable = load(tmp_path, one_feature_file(tensor("default", FLOAT, (0,), np.float32([]))))
    assert parsed(servable, example([1, 2])) == {"x4": [[1, 2]]}
    code, details = refused(parsed, servable, example())
    assert code is StatusCode.INTERNAL
    assert "is required but could not be found" in details
    servable.close()


@pytest.mark.parametrize("feature", [(1, 2), (1, -3)])
def test_an_op_that_tensorflow_refuses_fails_the_load(tmp_path, feature):
    default = tensor("default", FLOAT, (3,), np.float32([1, 2, 3]))
    code, details = refused(load, tmp_path, one_feature_file(default, feature=feature))
    assert code is StatusCode.INTERNAL
    assert details.startswith("ParseExample: ")


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_examples_are_served(tmp_path, transport):
    signature = signature_def({"input": "examples:0"}, {"x": "x:0"}, dtype=0)
    servable = load(tmp_path, dense_file(signature_defs={"serving_default": signature}), pools=2)
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("m", servable)
        target = server.target if transport == "grpc" else server.rest_url
        with PredictClient(target, model="m", timeout=30) as client:
            assert client.predict({"input": [example([1, 2]), example()]}).array.tolist() == [[1, 2], [-1, -2]]


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("examples", TEXT), NONE, tensor("keys", TEXT, (1,)), DEFAULTS[0], DENSE[0]],
        [tensor("examples", TEXT, (1,), [b""]), NONE, tensor("keys", TEXT, (1,), [b"x"]), DEFAULTS[0], DENSE[0]],
        [tensor("examples", FLOAT), NONE, tensor("keys", TEXT, (1,), [b"x"]), DEFAULTS[0], DENSE[0]],
        [tensor("examples", TEXT), NONE, KEYS, DEFAULTS[0], DENSE[0]],
        [tensor("examples", TEXT), NONE, tensor("keys", TEXT, (1,), [b"x"]), DEFAULTS[0], tensor("x", INT64, (1, 2))],
    ],
    ids=[
        "keys that are computed",
        "examples of the model",
        "numbers for examples",
        "fewer defaults than keys",
        "other types than defaults",
    ],
)
def test_an_op_that_cannot_run_ahead_of_the_others_fails_the_load(tmp_path, tensors):
    inputs = [] if tensors[0][3] else [0]
    content = lite_file(tensors, [("ParseExampleV2", [0, 1, 1, 2, 1, 3], [4])], inputs, [4])
    code, details = refused(load, tmp_path, content)
    assert code is StatusCode.INTERNAL
    assert details.startswith("Failed to allocate tensors. Encountered unresolved custom op: ParseExampleV2.")
