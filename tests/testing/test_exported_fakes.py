"""FakeServer with fakes of exported models: what they are called, what they answer, what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from calling import STYLES, calling

from tfs_client import ConfigError, InvalidArgumentError, PredictClient, Signature, Signatures, TensorSpec
from tfs_client.cli.admin import report
from tfs_client.protos.tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tfs_client.testing import FakeServer

X = np.ones((3, 2), np.float32)


def info(infos, alias, dtype, sizes):
    infos[alias].dtype, infos[alias].name = dtype, f"{alias}:0"
    for size in sizes:
        infos[alias].tensor_shape.dim.add(size=size)


@pytest.fixture
def folder(tmp_path):
    """Version 7 of the model resnet: predict with an optional input, classify, regress."""
    proto = SavedModel(saved_model_schema_version=1)
    graph = proto.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    for name in ("serving_default", "scaled"):
        predict = graph.signature_def[name]
        predict.method_name = "tensorflow/serving/predict"
        info(predict.inputs, "x", 1, (-1, 2))
        info(predict.outputs, "y", 1, (-1, 4))
        info(predict.outputs, "name", 7, (-1,))
    info(predict.inputs, "scale", 1, ())
    predict.defaults["scale"].dtype = 1
    predict.defaults["scale"].float_val.append(2.5)
    inferences = (
        ("classify", (("classes", 7, (-1, 3)), ("scores", 1, (-1, -1)))),
        ("regress", (("outputs", 1, (-1, 1)),)),
    )
    for name, outputs in inferences:
        signature = graph.signature_def[name]
        signature.method_name = f"tensorflow/serving/{name}"
        info(signature.inputs, "inputs", 7, (-1,))
        for output in outputs:
            info(signature.outputs, *output)
    path = tmp_path / "resnet" / "7"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def server(folder):
    with FakeServer.from_saved_model(folder.parent) as server:
        yield server


@pytest.mark.parametrize("style", STYLES)
def test_every_method_is_answered_with_zeros(server, style):
    with calling(style, server, model="resnet") as client:
        prediction = client.predict({"x": X})
    assert prediction.model.version == (7 if style.startswith("grpc") else None)
    assert prediction["y"].tolist() == [[0] * 4] * 3
    assert prediction["y"].dtype == np.float32
    assert prediction["name"].tolist() == [b""] * 3


def test_classify_and_regress_have_a_row_for_each_example(server):
    for target in (server.target, server.rest_url):
        with PredictClient(target, model="resnet", timeout=20) as client:
            examples = [{"x": 1.0}, {"x": 2.0}]
            found = client.classify(examples, signature="classify")
            assert [[(each.label, each.score) for each in row] for row in found.classes] == [[("", 0.0)] * 3] * 2
            assert client.regress(examples, signature="regress").values == (0.0, 0.0)


def test_metadata_is_that_of_the_model(server, folder):
    with PredictClient(server.target, model="resnet", timeout=20) as client:
        assert client.signatures()["serving_default"].inputs["x"].tensor_name == "x:0"
        assert client.signatures()["scaled"].optional == {"scale"}
    with PredictClient(server.target, model="resnet", signatures=folder, timeout=20) as client:
        assert client.predict({"x": X}, validate=True)["y"].shape == (3, 4)


REFUSED = [
    ({"x": X.astype(np.float64)}, {}, "Expects arg.* to be float but double is provided"),
    ({"X": X}, {}, "not found in request and no default value"),
    ({}, {"signature": "scaled"}, "no default value provided"),
    ({"x": X, "scale": np.float32(1), "z": X}, {"signature": "scaled"}, "Sent extra: {z}"),
    ({"x": np.ones((3, 5), np.float32)}, {}, r"Cannot feed value of shape \(3, 5\)"),
    ({"x": X}, {"outputs": ["z"]}, "output tensor alias not found in signature: z"),
    ({"x": X}, {"signature": "nope"}, 'Serving signature key "nope" not found'),
]


@pytest.mark.parametrize(("inputs", "options", "text"), REFUSED)
def test_a_fake_refuses_what_the_model_refuses(server, inputs, options, text):
    from tfs_client import CallError

    with PredictClient(server.target, model="resnet", timeout=20) as client, pytest.raises(CallError, match=text):
        client.predict(inputs, **options)


def test_shapes_are_not_checked_if_the_test_says_so(folder):
    with (
        FakeServer.from_saved_model(folder, check_shapes=False) as server,
        PredictClient(server.target, model="resnet", timeout=20) as client,
    ):
        assert client.predict({"x": np.ones((3, 5), np.float32)})["y"].shape == (3, 4)
        server.add_saved_model(folder, name="strict", check_shapes=True)
        with pytest.raises(InvalidArgumentError, match="Cannot feed value of shape"):
            client.predict({"x": np.ones((3, 5), np.float32)}, model="strict")


def test_a_function_gets_signature_and_inputs_with_defaults(folder):
    def answer(signature, inputs):
        scale = inputs["scale"] if signature == "scaled" else np.float32(1)
        return {"y": inputs["x"][:, :1] * scale * np.ones(4, np.float32), "name": ["a"] * len(inputs["x"])}

    with FakeServer.from_saved_model(folder, answer=answer) as server:
        for target in (server.target, server.rest_url):
            with PredictClient(target, model="resnet", timeout=20) as client:
                assert client.predict({"x": X})["y"].tolist() == [[1] * 4] * 3
        with PredictClient(server.target, model="resnet", timeout=20) as client:
            assert client.predict({"x": X}, signature="scaled")["y"].tolist() == [[2.5] * 4] * 3


def test_random_answers_are_the_same_for_the_same_inputs(folder):
    answers = []
    for seed in (1, 1, 2):
        with FakeServer.from_saved_model(folder, answer="random", seed=seed) as server:
            for target in (server.target, server.rest_url):
                with PredictClient(target, model="resnet", timeout=20) as client:
                    answers.append(client.predict({"x": X})["y"].tolist())
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert answers[4] == answers[5] != answers[0]


def test_models_are_listed_and_named(folder):
    with FakeServer.from_saved_model(folder) as server:
        server.add_saved_model(folder, name="other", version=3)
        server.add_saved_model(folder, version=8)
        assert server.models == ["other", "resnet"]
        with PredictClient(server.target, timeout=20) as client:
            assert client.predict({"x": X}, model="resnet").model.version == 8
            assert client.predict({"x": X}, model="other").model.version == 3
        with pytest.raises(ConfigError, match="model 'resnet' version 7 is already served; add name= or version="):
            server.add_saved_model(folder)
        server.add_model(
            "resnet",
            lambda x: x,
            inputs={"x": TensorSpec("float32")},
            outputs={"x": TensorSpec("float32")},
            version=8,
            signature="echo",
        )
        with PredictClient(server.target, model="resnet", timeout=20) as client:
            assert client.predict({"x": X}, signature="echo")["x"].tolist() == X.tolist()
            assert client.predict({"x": X})["y"].shape == (3, 4)
        server.remove_model("other", 3)
        assert server.models == ["resnet"]


def test_a_contract_in_every_form_makes_the_same_fake(folder, tmp_path):
    import httpx

    file = tmp_path / "contract.json"
    with FakeServer.from_saved_model(folder) as server:
        with PredictClient(server.target, model="resnet", timeout=20) as client:
            signatures = client.signatures()
        file.write_text(report.signatures(signatures, as_json=True))
        metadata = httpx.get(f"{server.rest_url}/v1/models/resnet/metadata").json()
    for given in (file, str(file), file.read_text(), json.loads(file.read_text()), signatures, metadata, folder):
        with FakeServer.from_signatures(given) as server:
            assert server.models == ["resnet"]
            with PredictClient(server.target, model="resnet", timeout=20) as client:
                assert dict(client.signatures()) == dict(signatures)
                assert client.predict({"x": X}).model.version == 7
    signature = Signature({"x": TensorSpec("float32", (None, 2))}, {"y": TensorSpec("float32", (None,))})
    with pytest.raises(ConfigError, match="expected a name for the model, got signatures without one; add name="):
        FakeServer.from_signatures({"serving_default": signature})
    for mistake in ({"name": 5}, {"name": "m", "version": "1"}, {"name": "m", "check_shapes": "no"}):
        with pytest.raises(ConfigError, match="expected"):
            FakeServer().add_signatures({"serving_default": signature}, **mistake)
    with FakeServer.from_signatures({"serving_default": signature}, name="m") as server:
        assert server.models == ["m"]
    with (
        FakeServer.from_signatures(Signatures({"s": signature}, model="n", version=0)) as server,
        PredictClient(server.target, model="n", timeout=20) as client,
    ):
        assert client.predict({"x": X}, signature="s").model.version == 0


def test_the_graph_with_other_tags_is_served(folder):
    with pytest.raises(ConfigError, match="expected a graph with the tags 'gpu', 'serve' and no others, got none"):
        FakeServer.from_saved_model(folder, tags=("serve", "gpu"))
    proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    proto.meta_graphs[0].meta_info_def.tags.append("gpu")
    (folder / "saved_model.pb").write_bytes(proto.SerializeToString())
    assert FakeServer.from_saved_model(folder, tags=("serve", "gpu")).models == ["resnet"]


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as a model"):
        FakeServer.from_saved_model(tmp_path)
