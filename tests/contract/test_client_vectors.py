"""The REST vectors that concern a client: replies are read, and requests hold the intended values.

The same with orjson and without it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import httpx
import numpy as np
import pytest

from tfs_client._calls.inference import Classify, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import json_text, rest_json, rest_messages
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.steps import Send
from tfs_client._transports.targets import checked_target
from tfs_client.errors import StatusCode
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.signatures import Signature, Signatures, TensorSpec

VECTORS = json.loads(
    (Path(__file__).parent.parent / "server" / "rest" / "rest_vectors.json").read_text(encoding="utf-8")
)
FLOATS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def vectors(kind, **wanted):
    """Those of a kind whose expectation has these members, by id."""
    found = [
        v for v in VECTORS if v["kind"] == kind and all(v.get("expect", {}).get(k) == w for k, w in wanted.items())
    ]
    return pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in found])


@pytest.fixture(params=["orjson", "json"], autouse=True)
def library(request, monkeypatch):
    """Which library reads and writes JSON."""
    if request.param == "json":
        monkeypatch.setattr(json_text, "orjson", None)
    return request.param


def array(tensor):
    row = BY_NAME[tensor["dtype"].removeprefix("DT_").lower()]
    values = tensor["values"]
    if row.name == "string":
        flat = np.empty(len(values), object)
        flat[:] = [b64decode(v["b64"]) if isinstance(v, dict) else v.encode() for v in values]
        return flat.reshape(tensor["shape"])
    return (
        np.array([FLOATS.get(v, v) if isinstance(v, str) else v for v in values])
        .astype(row.dtype)
        .reshape(tensor["shape"])
    )


def body(vector):
    """The reply, as the model server lays it out where the vector says so."""
    if "expect_body" in vector:
        return vector["expect_body"].encode()
    expected = vector["expect_json"]
    return (expected if isinstance(expected, str) else json.dumps(expected)).encode()


@vectors("response", ok=None)
def test_predict_replies_are_read_as_the_original_tensors(vector):
    tensors = {alias: array(tensor) for alias, tensor in vector["tensors"].items()}
    specs = {
        alias: (TensorSpec(t.dtype, (None, *t.shape[1:])).row, (None, *t.shape[1:])) for alias, t in tensors.items()
    }
    found = rest_json.read_reply(body(vector), specs, exact=True)
    assert found.keys() == tensors.keys()
    for alias, want in tensors.items():
        assert (found[alias].dtype, found[alias].shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(found[alias], want)


@vectors("predict_request", ok=True)
def test_predict_requests_hold_the_intended_tensors(vector):
    tensors = {alias: array(tensor) for alias, tensor in vector["expect"]["tensors"].items()}
    row = vector["expect"]["format"] == "row" and rest_json.fits_rows(tensors)
    signature = Signature({alias: TensorSpec(t.dtype) for alias, t in tensors.items()}, {})
    call = Predict(ModelSpec("m"), tensors)
    address, sent = call.write_rest(Signatures({"serving_default": signature}, model="m", version=1), row=row)
    assert address == "POST /v1/models/m:predict"
    # A reply in the same form, read by our reader: the two halves of JSON's rules are each other's mirror.
    mirrored = json.loads(sent)
    values = mirrored["instances"] if row else mirrored["inputs"]
    reply = json.dumps(
        {"predictions": values} if row else {"outputs": values if len(tensors) > 1 else alone(values, tensors)}
    )
    specs = {
        alias: (BY_NAME[t["dtype"].removeprefix("DT_").lower()], None)
        for alias, t in vector["expect"]["tensors"].items()
    }
    found = rest_json.read_reply(reply.encode(), specs)
    for alias, want in tensors.items():
        assert found[alias].dtype == want.dtype
        np.testing.assert_array_equal(found[alias], want)


def alone(values, tensors):
    """A single input goes by its name, but for the name b64."""
    (name,) = tensors
    return values if name == "b64" else values[name]


@vectors("classify_response", ok=None)
def test_classes_are_read(vector):
    found = Classify(ModelSpec("m"), [{}]).read_rest(body(vector))
    for row, expected in zip(found.classes, vector["classifications"], strict=True):
        assert [(c.label, c.score) for c in row] == [(e["label"], float(np.float32(e["score"]))) for e in expected]


@vectors("regress_response", ok=None)
def test_values_are_read(vector):
    found = Regress(ModelSpec("m"), [{}]).read_rest(body(vector))
    expected = np.float32([FLOATS.get(v, v) for v in vector["regressions"]])
    np.testing.assert_array_equal(np.float32(found.values), expected)
    np.testing.assert_array_equal(found.values, expected.astype(np.float64))


KINDS = {"bytes": "bytes_list", "float": "float_list", "int64": "int64_list"}


@pytest.mark.parametrize("kind", ["classify_request", "regress_request"])
def test_examples_are_sent_unchanged(kind):
    checked = 0
    for vector in VECTORS:
        if vector["kind"] != kind or not vector["expect"]["ok"]:
            continue
        expected = vector["expect"]
        examples = [example(features) for features in expected["examples"]]
        context = None if expected["context"] is None else example(expected["context"])
        sent = json_text.loads(rest_messages.write_examples(examples, context, expected["signature_name"]))
        assert sent.get("signature_name", "") == expected["signature_name"]
        assert [plain(features) for features in sent["examples"]] == [
            wire(features) for features in expected["examples"]
        ]
        assert ("context" in sent) == (context is not None)
        checked += 1
    assert checked == 2


def example(features):
    proto = Example()
    for name, feature in features.items():
        slot = proto.features.feature[name]
        for kind, values in feature.items():
            own = [FLOATS.get(v, v) if kind == "float" and isinstance(v, str) else v for v in values]
            own = [
                v.encode()
                if kind == "bytes" and isinstance(v, str)
                else b64decode(v["b64"])
                if isinstance(v, dict)
                else v
                for v in own
            ]
            getattr(slot, KINDS[kind]).value.extend(own)
    return proto.SerializeToString()


def wire(features):
    """What JSON has to say of features: the kind by the token, floats by their point."""
    return {
        name: next(
            (
                [
                    (
                        kind,
                        repr(np.float32(FLOATS.get(v, v)))
                        if kind == "float"
                        else str(v if isinstance(v, str | int) else v["b64"]),
                    )
                    for v in values
                ]
                for kind, values in feature.items()
            ),
            [],
        )
        for name, feature in features.items()
    }


def plain(features):
    def told(value):
        if isinstance(value, dict):
            text = b64decode(value["b64"])
            return "bytes", text.decode() if text.isascii() else value["b64"]
        return ("float", repr(np.float32(value))) if isinstance(value, float) else ("int64", str(value))

    return {name: list(map(told, values)) for name, values in features.items()}


@vectors("error_response")
def test_errors_keep_their_text(vector):
    from tfs_client._transports.http_client import Head
    from tfs_client._transports.rest_http import RestHttp

    if vector["code"] == "OK":
        return  # no error has no body
    status = {"INVALID_ARGUMENT": 400}[vector["code"]]
    http = RestHttp(Connection(checked_target("http://localhost:8501")))
    send = Send("POST /v1/models/m:predict", b"{}", Deadline(5))
    response = httpx.Response(status)
    with pytest.raises(Exception, match="Bad key") as caught:
        http.reply(response, Head.of(response), vector["expect_body"].encode(), send)
    assert caught.value.code is StatusCode[vector["code"]]
    assert caught.value.details == vector["message"]


def answers(end):
    """What GET gives, of the vectors whose path ends so."""
    found = [v for v in VECTORS if v["kind"] == "http" and v["method"] == "GET" and v["expect"].get("ok")]
    return [v for v in found if v["path"].endswith("/metadata") == (end == "/metadata")]


@pytest.mark.parametrize("vector", answers(""), ids=lambda vector: vector["id"])
def test_a_status_is_read(vector):
    found = GetModelStatus(ModelSpec("m")).read_rest(json.dumps(vector["expect"]["json"]).encode())
    assert found.available == (123,)
    assert found.versions[0].code is StatusCode.OK


@pytest.mark.parametrize("vector", answers("/metadata"), ids=lambda vector: vector["id"])
def test_signatures_are_read(vector):
    expected = vector["expect"]["json"]
    found = GetModelMetadata(ModelSpec("m")).read_rest(json.dumps(expected).encode())
    assert (found.model, found.version) == (expected["model_spec"]["name"], 123)
    told = expected["metadata"]["signature_def"]["signature_def"]
    assert found.keys() == told.keys()
    for name, signature in found.items():
        assert signature.method_name == told[name]["method_name"]
        for alias, spec in signature.inputs.items():
            assert spec.row.enum_name == told[name]["inputs"][alias]["dtype"]
            assert spec.tensor_name == told[name]["inputs"][alias]["name"]
