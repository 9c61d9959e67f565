"""The black-box vectors of the REST API (rest_vectors.json): requests, replies, routes and whole exchanges.

A vector has a kind, an input and an expectation. Error texts are compared in full where a vector gives them in full.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest

from tfs_client import InvalidArgumentError, Signature, TensorSpec
from tfs_client._codec.dtypes import BY_NAME
from tfs_client.errors import CallError, StatusCode
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.methods import Methods
from tfs_client.server.metric_types import Counter, Gauge, Histogram, page
from tfs_client.server.rest import predict_requests, replies, request_bodies, routes
from tfs_client.server.rest.app import HTTP_STATUS, RestApp
from tfs_client.server.rest.example_requests import examples_request

VECTORS = json.loads((Path(__file__).parent / "rest_vectors.json").read_text(encoding="utf-8"))


def of_kind(*kinds):
    """A parameter for every vector of these kinds."""
    found = [vector for vector in VECTORS if vector["kind"] in kinds]
    return pytest.mark.parametrize("vector", found, ids=[vector["id"] for vector in found])


TESTED = {
    "predict_request",
    "classify_request",
    "regress_request",
    "response",
    "classify_response",
    "regress_response",
    "error_response",
    "http",
    "route",
    "dispatch",
    "transport",
    "prometheus",
}


def test_no_vector_is_forgotten():
    assert {vector["kind"] for vector in VECTORS} == TESTED


def body_of(vector):
    if vector.get("request_b64"):
        return base64.b64decode(vector["request_b64"])
    if vector["request"] is None:
        return "".join(text * count for text, count in vector["request_parts"]).encode()
    return vector["request"].encode()


def check_refused(expect, error):
    assert not expect.get("ok", True), error
    assert error.code is StatusCode[expect["code"]]
    assert HTTP_STATUS[error.code] == expect["http_status"]
    assert expect["error_contains"] in error.details
    assert error.details == expect.get("error_exact", error.details)


def number(value):
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def same_value(got, want):
    """Whether numbers are the same, with the sign of zero, and NaN as itself."""
    if isinstance(want, float):
        return (math.isnan(got) and math.isnan(want)) or (
            got == want and math.copysign(1, got) == math.copysign(1, want)
        )
    return got == want


def raw(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def dtype_of(name):
    return BY_NAME[name.removeprefix("DT_").lower()]


# --- requests --------------------------------------------------------------------------------------------------------


@of_kind("predict_request")
def test_a_predict_request(vector):
    inputs = {name: TensorSpec(dtype_of(spec["dtype"])) for name, spec in vector["signature"]["inputs"].items()}
    expect = vector["expect"]
    try:
        root = predict_requests.read_body(body_of(vector))
        name = predict_requests.signature_name(root)
        tensors = predict_requests.tensors_of(root, Signature(inputs, {}))
    except CallError as error:
        check_refused(expect, error)
        return
    assert expect["ok"]
    assert name == expect.get("signature_name", "")
    assert predict_requests.form_of(root) == expect["format"]
    assert set(tensors) == set(expect["tensors"])
    for alias, want in expect["tensors"].items():
        array = tensors[alias]
        assert array.dtype == dtype_of(want["dtype"]).dtype
        assert list(array.shape) == want["shape"]
        assert len(array.reshape(-1)) == len(want["values"])
        for got, value in zip(array.reshape(-1).tolist(), want["values"], strict=True):
            if want["dtype"] == "DT_STRING":
                assert got == raw(value)
            elif want["dtype"] in ("DT_FLOAT", "DT_DOUBLE"):
                with np.errstate(over="ignore"):
                    assert same_value(got, float(array.dtype.type(number(value))))
            else:
                with np.errstate(over="ignore"):
                    assert got == np.array(value).astype(array.dtype)


def features(data):
    """A serialized example as the vectors write one."""
    found = {}
    for name, feature in Example.FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = {kind.removesuffix("_list"): list(getattr(feature, kind).value)} if kind else {}
    return found


def check_features(got, want):
    assert set(got) == set(want)
    for name, feature in want.items():
        assert set(got[name]) == set(feature)
        for kind, values in feature.items():
            wanted = [raw(value) if kind == "bytes" else number(value) for value in values]
            if kind == "float":
                wanted = np.float32(wanted).tolist()
            assert len(got[name][kind]) == len(wanted)
            assert all(map(same_value, got[name][kind], wanted))


@of_kind("classify_request", "regress_request")
def test_a_request_with_examples(vector):
    expect = vector["expect"]
    try:
        request = examples_request(predict_requests.read_body(body_of(vector)), vector["kind"].removesuffix("_request"))
    except CallError as error:
        check_refused(expect, error)
        return
    assert expect["ok"]
    assert request.signature == expect["signature_name"]
    assert (request.context is None) == (expect["context"] is None)
    if request.context is not None:
        check_features(features(request.context), expect["context"])
    assert len(request.examples) == len(expect["examples"])
    for got, want in zip(request.examples, expect["examples"], strict=True):
        check_features(features(got), want)


# --- replies ---------------------------------------------------------------------------------------------------------


def numbers_as_text(text):
    """JSON text as values, but numbers as they are written."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def check_reply(vector, write):
    try:
        text = write().decode()
    except CallError as error:
        check_refused(vector["expect"], error)
        return
    if "expect_body" in vector:
        assert text == vector["expect_body"]
    if vector.get("compare") == "number_text":
        assert numbers_as_text(text) == numbers_as_text(vector["expect_json"])
    elif "expect_json" in vector:
        assert json.loads(text) == vector["expect_json"]


def tensor(spec):
    row = dtype_of(spec["dtype"])
    values = [number(value) for value in spec["values"]]
    if row.name == "complex64":
        return np.array(values, np.float32).view(np.complex64)  # raw pairs, which no shape counts
    if row.name == "string":
        values = [raw(value) for value in values]
    return np.array(values, row.dtype).reshape(spec["shape"])


@of_kind("response")
def test_a_predict_reply(vector):
    tensors = {name: tensor(spec) for name, spec in vector["tensors"].items()}
    check_reply(vector, lambda: replies.predictions(tensors, vector["format"]))


@of_kind("classify_response")
def test_a_classify_reply(vector):
    rows = [[(each["label"], number(each["score"])) for each in row] for row in vector["classifications"]]
    check_reply(vector, lambda: replies.classes(rows))


@of_kind("regress_response")
def test_a_regress_reply(vector):
    check_reply(vector, lambda: replies.values([number(value) for value in vector["regressions"]]))


@of_kind("error_response")
def test_an_error_reply(vector):
    if vector["code"] == "OK":
        assert vector["expect_body"] == ""  # no error, and no text of one: there is nothing to write
    else:
        check_reply(vector, lambda: replies.error(vector["message"]))


# --- routes ----------------------------------------------------------------------------------------------------------


@of_kind("route")
def test_a_route(vector):
    expect = vector["expect"]
    if not expect["matched"] or not expect.get("ok", True):
        with pytest.raises(InvalidArgumentError) as caught:
            routes.route(vector["method"], vector["path"])
        malformed = {
            "ok": False,
            "code": "INVALID_ARGUMENT",
            "http_status": 400,
            "error_contains": f"Malformed request: {vector['method']} {vector['path']}",
        }
        check_refused(expect if expect["matched"] else malformed, caught.value)
        return
    found = routes.route(vector["method"], vector["path"])
    assert (found.spec.name, found.spec.version, found.spec.label) == (
        expect["model"],
        expect["version"],
        expect["label"],
    )
    if vector["method"] == "POST":
        assert found.method == expect["method"].capitalize()
    else:
        assert found.method == ("GetModelMetadata" if expect["subresource"] == "metadata" else "GetModelStatus")


# --- whole exchanges -------------------------------------------------------------------------------------------------


def half_plus_two(**inputs):
    """y = x / 2 + 2 of the only input: numbers, or examples with a feature x."""
    (values,) = inputs.values()
    if values.dtype == object:
        values = [[Example.FromString(data).features.feature["x"].float_list.value[0]] for data in values]
    return np.float32(values) / 2 + 2


def spec_of(info):
    shape = info["tensor_shape"]
    sizes = None if shape["unknown_rank"] else [int(dim["size"]) for dim in shape["dim"]]
    return TensorSpec(dtype_of(info["dtype"]), sizes, tensor_name=info["name"])


def half_plus_two_model(name):
    """The model behind the exchanges, with the signatures that its metadata must show."""
    (vector,) = (vector for vector in VECTORS if vector.get("path") == f"/v1/models/{name}/metadata")
    signatures = vector["expect"]["json"]["metadata"]["signature_def"]["signature_def"]
    return {
        name: FunctionSignature(
            half_plus_two,
            {alias: spec_of(info) for alias, info in signature["inputs"].items()},
            {alias: spec_of(info) for alias, info in signature["outputs"].items()},
            signature["method_name"],
        )
        for name, signature in signatures.items()
    }


MODELS = {"half_plus_two": "saved_model_half_plus_two_2_versions", "half_plus_two_default": "default"}


@pytest.fixture(scope="module")
def rest_url():
    labels = {MODELS["half_plus_two"]: {"Version_Label": 123}}
    with Server(ServerConfig(rest_port=0, version_labels=labels)) as server:
        for name in MODELS.values():
            server.add_model(name, half_plus_two_model(name), version=123)
        yield server.rest_url


@pytest.fixture(scope="module")
def http(rest_url):
    with httpx.Client(base_url=rest_url) as client:
        yield client


@of_kind("http")
def test_an_exchange(vector, http):
    expect = vector["expect"]
    response = http.request(vector["method"], vector["path"], content=vector["body"])
    assert response.status_code == expect["http_status"]
    assert response.headers["content-type"] == "application/json"
    for name, value in expect.get("headers", {}).items():
        assert response.headers[name] == value
    if "body" in expect:
        assert response.text == expect["body"]
    elif expect["ok"]:
        assert response.json() == expect["json"]
    else:
        assert expect.get("error_contains", "") in response.json()["error"]


@of_kind("dispatch")
def test_which_paths_belong_to_the_api(vector, http):
    response = http.get(vector["path"])
    assert (response.headers["content-type"] == "application/json") == vector["expect"]["handled"]
    assert (response.status_code == 404) != vector["expect"]["handled"]


def path_seen(rest_url, path):
    """The path as the API sees it, which it says of one that it does not know."""
    with socket.create_connection(tuple(rest_url.removeprefix("http://").split(":"))) as connection:
        connection.sendall(f"GET /v1{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    error = json.loads(received.partition(b"\r\n\r\n")[2])["error"]
    return re.fullmatch(r"Malformed request: GET /v1(.*)", error)[1]


def page_at(registered, target):
    """Status and text of the reply for ``target`` from a server with its own page at ``registered``."""
    pages = {registered: lambda _: (200, "OK", "text/plain")}
    app = RestApp(Methods(Manager({}), ServerConfig()), ServerConfig(), None, None, None, pages)

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            response = await client.get(f"http://h{target}")
            return response.status_code, response.text

    return asyncio.run(get())


@of_kind("transport")
def test_the_transport(vector, http, rest_url):
    request, expect = vector["http_request"], vector["expect"]
    if "decoded_body" in expect:
        data, encoding = base64.b64decode(request["body_b64"]), request["headers"]["Content-Encoding"]
        limit = request.get("max_uncompressed_bytes", request_bodies.INFLATED_LIMIT)
        assert request_bodies.inflated(data, encoding, limit) == expect["decoded_body"].encode()
    elif "registered_path" in request:
        status, text = page_at(request["registered_path"], request["path"])
        assert (status, text) == (expect["http_status"], expect.get("body", text))
    elif "handler_sees_path" in expect:
        assert path_seen(rest_url, request["path"]) == expect["handler_sees_path"]
    else:
        response = http.request(request["method"], request["path"])
        assert response.status_code == expect["http_status"]
        assert bool(response.content) or not expect.get("body_nonempty")


# --- the page of metrics ---------------------------------------------------------------------------------------------


def metric(spec):
    labels = tuple(spec["labels"])
    values = tuple(spec["labels"].values())
    if spec["type"] == "histogram":
        made = Histogram(spec["name"], labels, spec["bucket_limits"][:-1])
        for sample in spec["samples"]:
            made.add(sample, *values)
    elif spec["type"] == "gauge":
        made = Gauge(spec["name"], labels)
        made.set(spec["value"], *values)
    else:
        made = Counter(spec["name"], labels)
        made.add(*values, by=spec["value"])
    return made


@of_kind("prometheus")
def test_metrics_as_text(vector):
    assert vector["expect_text_contains"] in page([metric(spec) for spec in vector["metrics"]])
