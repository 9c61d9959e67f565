"""signatures=: what the user states in place of a server's metadata, in every form, and what it is used for."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from calling import STYLES, calling
from other_servers import OVMS_METADATA, Reply, kserve, running

from tfs_client import (
    AsyncPredictClient,
    ConfigError,
    FailedPreconditionError,
    InvalidArgumentError,
    PredictClient,
    Signature,
    SignatureError,
    Signatures,
    TensorSpec,
)
from tfs_client._flows import given_signatures
from tfs_client._flows.given_signatures import stated
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tfs_client.protos.tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tfs_client.testing import FakeServer

SIGNATURE = Signature({"x": TensorSpec("float32", (None, 2))}, {"y": TensorSpec("float32", (None,))})
GIVEN = Signatures({"serving_default": SIGNATURE}, model="m", version=3)
X = np.float32([[1, 2], [3, 4.5]])


def signature_def(size=2):
    signature = SignatureDef(method_name="tensorflow/serving/predict")
    for side, alias, sizes in ((signature.inputs, "x", (-1, size)), (signature.outputs, "y", (-1,))):
        side[alias].dtype, side[alias].name = 1, f"{alias}:0"
        for each in sizes:
            side[alias].tensor_shape.dim.add(size=each)
    return signature


def graph(tags=("serve",), size=2):
    """A MetaGraphDef with signatures, and a field with a graph that the reader does not know."""
    made = MetaGraphDef()
    made.meta_info_def.tags.extend(tags)
    made.signature_def["serving_default"].CopyFrom(signature_def(size))
    made.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"
    made.MergeFromString(b"\x12\x06\x0a\x04abcd")
    return made


def saved_model(folder, *graphs):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(
        SavedModel(saved_model_schema_version=1, meta_graphs=graphs).SerializeToString()
    )
    return folder


# --- reading ---------------------------------------------------------------------------------------------------------


def snake(message):
    """The JSON of metadata as TensorFlow Serving spells it."""
    names = {
        "modelSpec": "model_spec",
        "signatureName": "signature_name",
        "signatureDef": "signature_def",
        "tensorShape": "tensor_shape",
        "unknownRank": "unknown_rank",
        "methodName": "method_name",
    }
    if isinstance(message, dict):
        return {names.get(name, name): snake(value) for name, value in message.items()}
    return [snake(value) for value in message] if isinstance(message, list) else message


@pytest.mark.parametrize("spelling", [snake, lambda message: message], ids=["snake_case", "camelCase"])
@pytest.mark.parametrize(
    "form",
    [
        lambda message: message,
        json.dumps,
        lambda message: f"  \n{json.dumps(message)}",
        lambda message: json.dumps(message).encode(),
        lambda message: bytearray(json.dumps(message).encode()),
    ],
    ids=["parsed", "text", "text with blanks", "bytes", "bytearray"],
)
def test_the_json_of_metadata_in_every_form(form, spelling):
    found = stated(form(spelling(OVMS_METADATA)), "m")
    assert (found.model, found.version) == ("m", 3)
    assert found["serving_default"].inputs == SIGNATURE.inputs
    assert found["serving_default"].outputs == SIGNATURE.outputs


def test_a_servers_actual_metadata_can_be_given(fake_server):
    import httpx

    spec = TensorSpec("float32", (None, 2))
    fake_server.add_model("m", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
    reply = httpx.get(f"{fake_server.rest_url}/v1/models/m/metadata")
    with PredictClient(fake_server.target, model="m") as client:
        assert dict(stated(reply.text, "m")) == dict(stated(reply.json(), "m")) == dict(client.signatures())


def test_signature_objects_can_be_given():
    found = stated(GIVEN, "m")
    assert (found, found.model, found.version, found.stated) == (GIVEN, GIVEN.model, GIVEN.version, True)
    assert dict(stated({"serving_default": SIGNATURE}, "m")) == dict(GIVEN)


def test_a_file_with_the_json_is_read(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(OVMS_METADATA))
    for given in (path, str(path)):
        assert dict(stated(given, "m"))["serving_default"].inputs == SIGNATURE.inputs


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
def test_a_saved_models_folder_is_read_without_tensorflow(tmp_path, kind):
    folder = saved_model(tmp_path / "7", graph(("serve", "tpu"), size=9), graph())
    for given in (folder, folder / "saved_model.pb"):
        found = stated(kind(given), "m")
        assert (found.model, found.version, list(found)) == ("m", 7, ["serving_default"])
        assert found["serving_default"].inputs == SIGNATURE.inputs
        assert found["serving_default"].inputs["x"].tensor_name == "x:0"


def test_the_highest_version_of_a_models_folder_counts(tmp_path):
    for version, size in ((2, 2), (10, 5), (9, 3)):
        saved_model(tmp_path / str(version), graph(size=size))
    (tmp_path / "11").mkdir()  # without a model in it
    (tmp_path / "notes").mkdir()
    found = stated(tmp_path, "m")
    assert found.version == 10
    assert found["serving_default"].inputs["x"].shape == (None, 5)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (5, "expected signatures= as Signatures, .*, got int"),
        ([SIGNATURE], "got list"),
        ({}, "expected signatures as JSON"),
        ({"serving_default": 5}, "expected signatures as JSON"),
        ('{"metadata": ', "expected JSON"),
        (b"\x00\x01", "expected JSON"),
        ('{"metadata": {"signature_def": {"signature_def": {}}}}', "at least one signature, got none in the JSON"),
        ('{"metadata": {"signature_def": {"signature_def": {"s": {"inputs": 5}}}}}', "expected signatures as JSON"),
        ('{"error": "no such model"}', "expected signatures as JSON"),
        ("/there/is/no/such/folder", "No such file or directory"),
    ],
)
def test_values_without_signatures_are_refused_when_the_client_is_made(given, text):
    for kind, target in ((PredictClient, "localhost:1"), (AsyncPredictClient, "http://localhost:1")):
        with pytest.raises(ConfigError, match=text):
            kind(target, model="m", signatures=given)


def test_files_that_are_not_regular_or_too_large_are_refused(tmp_path, monkeypatch):
    for name in ("pipe", "saved_model.pb"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ConfigError, match=f"{name}: expected a regular file, got a named pipe"):
            stated(tmp_path / name, "m")
    monkeypatch.setattr(given_signatures, "MAX_JSON", 3)
    (tmp_path / "large.json").write_text("    ")
    with pytest.raises(ConfigError, match="expected a file of at most 3 bytes, got a larger one"):
        stated(tmp_path / "large.json", "m")
    with pytest.raises(ConfigError, match="signatures=: expected a path, got an empty one"):
        stated("", "m")


def test_folders_without_a_model_for_serving_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected saved_model\.pb in"):
        stated(tmp_path, "m")
    with pytest.raises(ConfigError, match="expected a graph with the tag 'serve'"):
        stated(saved_model(tmp_path / "a", graph(("train",))), "m")
    folder = saved_model(tmp_path / "b", graph())
    (folder / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ConfigError, match="cannot be read as a SavedModel"):
        stated(folder, "m")


def test_given_signatures_apply_to_the_clients_model():
    with pytest.raises(ConfigError, match="expected model= together with signatures="):
        PredictClient("localhost:1", signatures=GIVEN)


# --- using -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        for name in ("m", "other"):
            server.add_model(
                name, lambda x: x.sum(axis=1), inputs=dict(SIGNATURE.inputs), outputs=dict(SIGNATURE.outputs)
            )
        yield server


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def client(server, style):
    server.clear_calls()
    with calling(style, server, model="m", signatures=GIVEN, timeout=20) as client:
        yield client


def metadata_calls(server):
    return [call.model for call in server.lookups if call.method == "GetModelMetadata"]


def test_given_signatures_are_never_requested_from_the_server(server, client):
    for inputs in ({"x": X}, X, X.tolist(), {"x": X.tolist()}):
        got = client.predict(inputs)["y"]
        assert (got.dtype, got.tolist()) == (np.float32, [3, 7.5])
    assert client.predict({"x": X.astype(np.float64)}, cast=True)["y"].tolist() == [3, 7.5]
    assert client.predict({"x": X}, validate=True, version=1)["y"].tolist() == [3, 7.5]
    assert client.signatures() == GIVEN
    with pytest.raises(InvalidArgumentError, match="'X' is not an input, but 'x' is"):
        client.predict({"X": X})
    with pytest.raises(InvalidArgumentError, match="'X' is not an input, but 'x' is"):
        client.predict({"X": [[1, 2]]})
    with pytest.raises(SignatureError, match="'x' expects float32"):
        client.predict({"x": X.astype(np.int32)}, validate=True)
    with pytest.raises(FailedPreconditionError, match="The model has the signatures serving_default"):
        client.predict({"x": X}, signature="ghost")
    assert client.is_ready()
    assert client.predict_batched(X.tolist(), batch_size=1)["y"].tolist() == [3, 7.5]
    assert metadata_calls(server) == []


def test_signatures_of_another_model_are_requested(server, client):
    assert client.predict(X.tolist(), model="other")["y"].tolist() == [3, 7.5]
    assert metadata_calls(server) == ["other"]
    assert client.signatures(model="other").version == 1


def test_readiness_of_a_label_is_that_of_the_model(server, client):
    server.set_label("m", "stable", 1)
    assert client.is_ready(label="stable")
    assert metadata_calls(server) == []


@pytest.mark.parametrize("style", ["grpc", "rest"], indirect=True)
def test_a_pickled_client_keeps_given_signatures(server, style):
    server.clear_calls()
    target = server.rest_url if style == "rest" else server.target
    with PredictClient(target, model="m", signatures=OVMS_METADATA) as client:
        copied = pickle.loads(pickle.dumps(client))
    with copied:
        assert copied.predict([[1, 2]])["y"].tolist() == [3]
        assert copied.signatures().version == 3
    assert metadata_calls(server) == []


def test_replies_of_a_server_without_metadata_are_read_with_given_signatures():
    def script(method, path, body):
        if method == "POST":  # whole numbers without a point, and the output by its name
            return Reply(200, {"predictions": [{"y": 3}, {"y": 7.5}]})
        return kserve(method, path, body)

    with running(script) as server, PredictClient(server.url, model="m", signatures=GIVEN, timeout=20) as client:
        for inputs in ({"x": X}, X.tolist()):
            got = client.predict(inputs)["y"]
            assert (got.dtype, got.tolist()) == (np.float32, [3, 7.5])
        server.script = kserve
        got = client.predict({"x": X}, outputs=["y"])["y"]
        assert (got.dtype, got.tolist()) == (np.float32, [3, 7.5])
        assert client.is_ready()
        assert server.count("/metadata") == 0
        with pytest.raises(InvalidArgumentError, match="expected input 'x' of dtype float, got double"):
            client.predict({"x": X.astype(np.float64)})
        assert client.predict({"x": X.astype(np.float64)}, cast=True)["y"].tolist() == [3, 7.5]
