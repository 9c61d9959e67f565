"""Other servers of the same REST API: OpenVINO Model Server, KServe's v1 protocol, gateways; all imitated."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from calling import GRPC, REST, calling
from other_servers import NO_METADATA, OVMS_METADATA, Reply, gateway, kserve, kserve_starting, ovms, running

from tfs_client import (
    CallError,
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    PredictClient,
    SignatureError,
    State,
    TensorSpec,
    UnauthenticatedError,
    UnavailableError,
)

X = np.float32([[1, 2], [3, 4.5]])
SUMS = [3.0, 7.5]


@pytest.fixture(params=REST)
def style(request):
    return request.param


# --- OpenVINO Model Server -------------------------------------------------------------------------------------------


def test_metadata_in_camel_case_is_read(style):
    with running(ovms) as server, calling(style, server.url, model="m", timeout=20) as client:
        for inputs in ({"x": X}, X, {"x": [[1, 2], [3, 4.5]]}):
            prediction = client.predict(inputs)
            assert (prediction["y"].dtype, prediction["y"].tolist()) == (np.float32, SUMS)
        signatures = client.signatures()
        assert (signatures.model, signatures.version) == ("m", 3)
        signature = signatures["serving_default"]
        assert signature.inputs == {"x": TensorSpec("float32", (None, 2))}
        assert signature.outputs == {"y": TensorSpec("float32", (None,))}
        assert signature.method_name == ""
        assert client.is_ready()
        (version,) = client.status().versions
        assert (version.version, version.state) == (3, State.AVAILABLE)
        with pytest.raises(InvalidArgumentError, match="'z' is not an input"):
            client.predict({"z": X})
        with pytest.raises(NotFoundError, match="Model with requested name is not found"):
            client.predict({"x": X}, model="ghost")


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.pop("version"),
        lambda spec: spec.update(version=None),
        lambda spec: spec.update(version=3),
        lambda spec: spec.clear(),
    ],
    ids=["missing", "null", "number", "empty"],
)
def test_a_version_may_be_missing_or_a_number(change):
    metadata = pickle.loads(pickle.dumps(OVMS_METADATA))
    change(metadata["modelSpec"])

    def script(method, path, body):
        return Reply(200, metadata) if path.endswith("/metadata") else ovms(method, path, body)

    with running(script) as server, PredictClient(server.url, model="m", timeout=20) as client:
        assert client.predict({"x": X})["y"].tolist() == SUMS
        signatures = client.signatures()
        assert signatures.model == "m"
        assert signatures.version in (None, 3)


@pytest.mark.parametrize("style", GRPC)
def test_over_grpc_metadata_equals_tensorflow_servings_without_a_method(raw_server, style):
    from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
        SignatureDefMap,
    )
    from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    def describe(request, context):
        signatures = SignatureDefMap()
        for side, alias in (("inputs", "0"), ("outputs", "1463")):
            info = getattr(signatures.signature_def["serving_default"], side)[alias]
            info.dtype, info.name = 1, alias
            info.tensor_shape.dim.add(size=1)
            info.tensor_shape.dim.add(size=3)
        response = GetModelMetadataResponse()
        response.model_spec.name = "resnet"
        response.model_spec.version.value = 1
        response.metadata["signature_def"].Pack(signatures)
        return response.SerializeToString()

    def echo(request, context):
        response = PredictResponse(outputs={"1463": PredictRequest.FromString(request).inputs["0"]})
        response.model_spec.name = "resnet"
        response.model_spec.version.value = 1
        return response.SerializeToString()

    target = raw_server(Predict=echo, GetModelMetadata=describe)
    with calling(style, target, model="resnet", timeout=20) as client:
        for inputs in ([[1, 2, 3]], {"0": [[1, 2, 3]]}):
            got = client.predict(inputs)["1463"]
            assert (got.dtype, got.tolist()) == (np.float32, [[1, 2, 3]])


# --- KServe's v1 protocol --------------------------------------------------------------------------------------------


def test_kserve_predicts_without_metadata(style):
    with running(kserve) as server, calling(style, server.url, model="m", timeout=20) as client:
        for inputs in ({"x": X}, X, {"x": X.tolist()}, X.tolist(), X.astype(np.float64)):
            prediction = client.predict(inputs)
            assert prediction["predictions"].tolist() == prediction.array.tolist() == SUMS
            assert prediction.array.dtype == np.float64
            assert server.bodies[-1] == {"instances": X.tolist()}
        assert prediction.model.version is None
        assert server.count("/metadata") == 1


def test_numbers_without_a_dtype_keep_all_their_digits():
    """JSON has no widths: what a float32 would round is sent as it is."""
    with running(kserve) as server, PredictClient(server.url, model="m", timeout=20) as client:
        client.predict({"x": [[1700000000.125, 0.1]]})
        assert server.bodies[-1] == {"instances": [[1700000000.125, 0.1]]}
        client.predict({"x": [[2**53 + 1, 2**63]]})
        assert server.bodies[-1] == {"instances": [[2**53 + 1, 2**63]]}
        with pytest.raises(EncodeError, match="integers of at most 64 bits"):
            client.predict({"x": [[2**70, 1]]})


def test_several_inputs_are_sent_in_rows_by_name_and_those_without_rows_in_columns():
    with running(kserve) as server, PredictClient(server.url, model="m", timeout=20) as client:
        server.script = lambda method, path, body: (
            Reply(200, {"predictions": [{"a": 1, "b": "x"}]}) if method == "POST" else kserve(method, path, body)
        )
        prediction = client.predict({"x": X, "name": ["p", "q"]})
        assert server.bodies[-1] == {"instances": [{"x": [1, 2], "name": "p"}, {"x": [3, 4.5], "name": "q"}]}
        assert {alias: array.tolist() for alias, array in prediction.items()} == {"a": [1], "b": [b"x"]}
        client.predict({"x": X, "k": 3})
        assert server.bodies[-1] == {"inputs": {"x": X.tolist(), "k": 3}}
        client.predict(5)
        assert server.bodies[-1] == {"inputs": 5}
        assert list(client.predict({"x": X}, outputs=["b"])) == ["b"]
        with pytest.raises(SignatureError, match="expected the outputs c, got a, b"):
            client.predict({"x": X}, outputs=["c"])


def test_the_form_may_be_chosen_without_metadata():
    with (
        running(kserve) as server,
        PredictClient(server.url, model="m", rest_format="columnar", timeout=20) as columnar,
        PredictClient(server.url, model="m", rest_format="row", timeout=20) as row,
    ):
        columnar.predict({"x": X})
        assert server.bodies[-1] == {"inputs": {"x": X.tolist()}}
        with pytest.raises(EncodeError, match="for the row form"):
            row.predict({"x": 5})


@pytest.mark.parametrize("ready", [True, "True", "true"])
def test_kserve_says_that_a_model_is_ready_without_versions(style, ready):
    def script(method, path, body):
        return kserve(method, path, body, ready)

    with running(script) as server, calling(style, server.url, model="m", timeout=20) as client:
        assert client.is_ready()
        client.wait_until_ready(10)
        status = client.status()
        assert (status.ready, status.versions, status.available) == (True, (), ())
        assert str(status) == "m\n  ready; the server does not report versions"
        assert not client.is_ready(model="ghost")
        with pytest.raises(NotFoundError, match="Model with name ghost does not exist"):
            client.status(model="ghost")


@pytest.mark.parametrize("ready", [False, "False"])
def test_kserve_says_that_a_model_is_not_ready(style, ready):
    def script(method, path, body):
        return kserve(method, path, body, ready)

    with running(script) as server, calling(style, server.url, model="m", timeout=20) as client:
        assert not client.is_ready()
        assert not client.status().ready


def test_waiting_covers_a_loading_model_of_kserve(style):
    with running(kserve_starting) as server, calling(style, server.url, model="m", timeout=20) as client:
        assert not client.is_ready()
        with pytest.raises(UnavailableError, match="Model with name m is not ready"):
            client.status()
        with pytest.raises(DeadlineExceededError, match="Model with name m is not ready"):
            client.wait_until_ready(0.3)
        server.script = kserve
        client.wait_until_ready(10)
        assert client.is_ready()


def test_invalid_readiness_is_refused():
    refused = pytest.raises(DecodeError, match="expected the status of a model")
    script = gateway(Reply(200, {"ready": "maybe"}))
    with running(script) as server, PredictClient(server.url, model="m") as client, refused:
        client.is_ready()


# --- gateways --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", NO_METADATA)
def test_a_gateway_that_forwards_only_predictions_is_enough(refusal):
    with running(gateway(NO_METADATA[refusal])) as server, PredictClient(server.url, model="m", timeout=20) as client:
        for _ in range(3):
            assert client.predict({"x": X}).array.tolist() == SUMS
        assert server.count("/metadata") == 1
        with pytest.raises(NotFoundError, match=r"Predict: NOT_FOUND: Servable not found for request: Latest\(ghost\)"):
            client.predict({"x": X}, model="ghost")
        with pytest.raises((CallError, DecodeError), match="pass the model's signatures with signatures="):
            client.signatures()
        with pytest.raises(SignatureError, match="metadata of model 'm' that this caller may read; leave out"):
            client.predict({"x": X}, validate=True)


@pytest.mark.parametrize("refusal", ["404 page", "403", "200 page"])
def test_a_gateway_serves_every_way_of_calling(style, refusal):
    with (
        running(gateway(NO_METADATA[refusal])) as server,
        calling(style, server.url, model="m", timeout=20, cast=True) as client,
    ):
        for inputs in ({"x": X}, X, {"x": X.tolist()}):
            assert client.predict(inputs).array.tolist() == SUMS
        assert client.predict_batched({"x": X}, batch_size=1).array.tolist() == SUMS


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401, {"error": "who are you?"}), UnauthenticatedError),
        (Reply(503, {"error": "busy"}), UnavailableError),
        (Reply(504, "<html>too late</html>", "text/html"), DeadlineExceededError),
        (Reply(500, {"error": "broken"}), CallError),
        (Reply(404, {"error": "Servable not found for request: Latest(m)"}), NotFoundError),
        (Reply(400, {"error": "Unrecognized servable version label: x"}), InvalidArgumentError),
        (Reply(200, {"metadata": {"signature_def": {"signature_def": {"s": 5}}}}), DecodeError),
    ],
    ids=["401", "503", "504", "500", "no model", "no label", "broken metadata"],
)
def test_an_outage_is_not_mistaken_for_missing_metadata(style, reply, error):
    with running(gateway(reply)) as server, calling(style, server.url, model="m", timeout=20) as client:
        with pytest.raises(error):
            client.predict({"x": X})
        assert server.count(":predict") == 0


def test_missing_metadata_is_requested_again_after_a_while(monkeypatch):
    monkeypatch.setattr("tfs_client._flows.known_signatures.ABSENCE_AGE", 0.0)
    with running(kserve) as server, PredictClient(server.url, model="m", timeout=20) as client:
        assert client.predict({"x": X}).array.dtype == np.float64
        server.script = ovms
        assert client.predict({"x": X}).array.dtype == np.float32


def test_a_model_added_later_is_not_mistaken_for_one_without_metadata():
    """It was not there, and neither were its metadata; that says nothing of what comes."""

    def empty(method, path, body):
        return Reply(404, {"error": "Model with requested name is not found"})

    with running(empty) as server, PredictClient(server.url, model="m", timeout=20) as client:
        with pytest.raises(NotFoundError, match="Predict: NOT_FOUND: Model with requested name is not found"):
            client.predict({"x": X})
        server.script = ovms
        assert client.predict({"x": X})["y"].dtype == np.float32


def test_a_single_value_of_numbers_that_rest_cannot_carry_is_refused_by_its_dtype():
    refused = pytest.raises(EncodeError, match="the input: REST cannot carry float16 tensors")
    with running(kserve) as server, PredictClient(server.url, model="m", timeout=20) as client, refused:
        client.predict(np.float16([[1, 2]]))


def test_ambiguous_replies_suggest_a_solution():
    with running(kserve) as server, PredictClient(server.url, model="m", timeout=20) as client:
        client.predict({"x": X})
        for values in ([[1], [1, 2]], [], [None, 1.5]):
            server.script = lambda method, path, body, values=values: Reply(200, {"predictions": values})
            with pytest.raises(DecodeError, match=r"the reply of Predict for model 'm' cannot be read: .*signatures="):
                client.predict({"x": X})


def test_a_single_output_with_its_name_is_read_by_the_signature():
    """TensorFlow Serving leaves the name of a single output out; others write it."""

    def script(method, path, body):
        if method == "POST":
            return Reply(200, {"predictions": [{"y": 1}, {"y": 2}]})
        return ovms(method, path, body)

    with running(script) as server, PredictClient(server.url, model="m", timeout=20) as client:
        got = client.predict({"x": X})["y"]
        assert (got.dtype, got.tolist()) == (np.float32, [1, 2])
