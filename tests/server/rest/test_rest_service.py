"""The REST side over HTTP: methods, the order of checks, codes, status, metadata, headers, bodies, records."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from calling import all_calls

from tfs_client import PredictClient, StatusCode, TensorSpec
from tfs_client.errors import BY_CODE, InvalidArgumentError
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.call_deadlines import deadline
from tfs_client.server.rest.request_bodies import INFLATED_LIMIT, inflated
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
EXAMPLES = {"inputs": TensorSpec("string", (None,))}


@pytest.fixture
def connect():
    """Makes HTTP clients of servers."""
    clients = []

    def make(url):
        clients.append(httpx.Client(base_url=url, timeout=20, verify=False))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def http(fake_server, connect):
    """An HTTP client of the fake server."""
    return connect(fake_server.rest_url)


def post(http, path, body):
    response = http.post(f"/v1/models/{path}", content=body if isinstance(body, (str, bytes)) else json.dumps(body))
    assert response.headers["content-type"] == "application/json"
    return response


def refused(http, path, body):
    """The status and text with which a call is refused."""
    response = post(http, path, body)
    assert response.status_code != 200, response.text
    assert response.text.startswith('{\n    "error": "')
    return response.status_code, response.json()["error"]


# --- Predict ---------------------------------------------------------------------------------------------------------


def test_both_request_forms_are_answered(models, http):
    body = {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 5}]}
    assert post(http, "two:predict", body).json() == {"predictions": [{"y": 3, "z": -1}, {"y": 8, "z": -2}]}
    body = {"inputs": {"a": [1, 3], "b": [2, 5]}}
    assert post(http, "two:predict", body).json() == {"outputs": {"y": [3, 8], "z": [-1, -2]}}


# Each body has the fault of its row and of all rows below it.
ORDER = [
    ("two", '{"instances": 1, "inputs": 1, "signature_name": 5 x}', 400, "JSON Parse error: Missing a comma or '}'"),
    ("two", "[1]", 400, "JSON Value: [1] Is not object"),
    (
        "ghost",
        '{"instances": 1, "inputs": 1, "signature_name": 5}',
        400,
        "'signature_name' key must be a string value.",
    ),
    ("ghost", '{"instances": 1, "inputs": 1, "signature_name": "s"}', 404, "Servable not found for request: Latest"),
    (
        "two",
        '{"instances": 1, "inputs": 1, "signature_name": "s"}',
        400,
        'Serving signature name: "s" not found in signature def',
    ),
    ("m", '{"instances": 1, "inputs": 1}', 400, "Failed to get input map for signature: DEFAULT"),
    (
        "m",
        '{"signature_name": "serving_default"}',
        400,
        "Failed to get input map for signature: serving_default",
    ),
    (
        "two",
        '{"instances": 1, "inputs": 1, "signature_name": ""}',
        400,
        "expecting only one of 'inputs' or 'instances'",
    ),
    ("two", "{}", 400, "Missing 'inputs' or 'instances' key"),
    ("two", '{"inputs": {"a": "x", "b": 1}}', 400, "is not of expected type: float"),
]


@pytest.mark.parametrize(("model", "body", "status", "text"), ORDER, ids=range(len(ORDER)))
def test_errors_are_found_in_the_model_servers_order(models, http, model, body, status, text):
    got, error = refused(http, f"{model}:predict", body)
    assert got == status
    assert text in error


def test_an_input_with_a_default_is_still_required(models, http):
    text = "Missing named input: c in 'inputs' object."
    assert refused(http, "opt:predict", {"inputs": {"a": [1], "b": [1]}}) == (400, text)
    assert post(http, "opt:predict", {"inputs": {"a": [1], "b": [1], "c": [3]}}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("ghost", 404, "Servable not found for request: Latest(ghost)"),
        ("m/versions/7", 404, "Servable not found for request: Specific(m, 7)"),
        ("m/labels/nope", 400, "Unrecognized servable version label: nope"),
        ("ghost/labels/nope", 400, "Unrecognized servable version label: nope"),
        ("m/labels/gone", 404, "Servable not found for request: Specific(m, 9)"),
        ("a%2Fb%20c", 404, "Servable not found for request: Latest(a/b c)"),
    ],
)
def test_failed_lookups_are_reported(models, http, path, status, text):
    for verb, body in (("predict", {"instances": [1]}), ("classify", {"examples": [{}]})):
        assert refused(http, f"{path}:{verb}", body) == (status, text)
    response = http.get(f"/v1/models/{path}/metadata")
    assert (response.status_code, response.json()["error"]) == (status, text)


def test_labels_are_unavailable_until_one_is_set(http):
    assert refused(http, "m/labels/l:predict", {"instances": [1]}) == (503, "Model labels does not init yet.l")


def test_versions_and_labels_choose(http, fake_server):
    for version in (1, 2):
        fake_server.add_model(
            "v", lambda x, n=version: n * x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, version=version
        )
    fake_server.set_label("v", "stable", 1)
    for path, answer in (("v", 20), ("v/versions/1", 10), ("v/versions/2", 20), ("v/labels/stable", 10)):
        assert post(http, f"{path}:predict", {"instances": [10]}).json() == {"predictions": [answer]}


def test_the_body_can_name_another_signature(http, fake_server):
    fake_server.add_model("s", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    fake_server.add_model("s", lambda x: -x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, signature="minus")
    assert post(http, "s:predict", {"instances": [1], "signature_name": "minus"}).json() == {"predictions": [-1]}


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_codes_have_an_http_status(http, fake_server, code):
    def fail(x):
        raise BY_CODE[code]("as I say")

    fake_server.add_model("f", fail, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    status, text = refused(http, "f:predict", {"instances": [1]})
    want = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500}
    want |= {14: 503, 15: 500, 16: 401}
    assert (status, text) == (want[code], "as I say")


def test_a_servable_that_fails_by_mistake_is_a_500(http, fake_server):
    class Broken:
        @property
        def signatures(self):
            raise RuntimeError("a bug")

    fake_server.server.add_model("b", Broken())
    assert refused(http, "b:predict", {"instances": [1]}) == (500, "RuntimeError: a bug")


def test_outputs_that_json_cannot_represent_are_refused(http, fake_server):
    fake_server.add_model("h", lambda x: x, inputs={"x": VECTOR}, outputs={"y": TensorSpec("float16")})
    text = "Failed to write JSON value for tensor type: half"
    assert refused(http, "h:predict", {"instances": [1]}) == (400, text)
    fake_server.add_model("n", lambda x: 1.0, inputs={"x": VECTOR}, outputs={"y": TensorSpec("float32", ())})
    assert refused(http, "n:predict", {"instances": [1]}) == (400, "Tensor name: y has no shape information ")
    assert post(http, "n:predict", {"inputs": [1]}).json() == {"outputs": 1.0}


def test_the_method_name_check(connect):
    models = {"serving_default": FunctionSignature(lambda x: x, {"x": VECTOR}, {"y": VECTOR}, "other")}
    with Server(ServerConfig(rest_port=0, method_name_check=True)) as server:
        server.add_model("m", models)
        status, text = refused(connect(server.rest_url), "m:predict", {"instances": [1]})
    assert status == 500
    assert text.startswith("Expected prediction signature method_name to be one of {tensorflow/serving/predict, ")


def test_inputs_are_read_only_as_over_grpc(http, fake_server):
    spec = TensorSpec("float32")
    fake_server.add_model("m", lambda x: np.add(x, 1, out=x), inputs={"x": spec}, outputs={"y": spec})
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InvalidArgumentError) as caught:
        client.predict({"x": np.float32([1])})
    for body in ({"instances": [1]}, {"inputs": [1]}, {"inputs": 1}):
        assert refused(http, "m:predict", body) == (400, caught.value.details)


# --- Classify and Regress --------------------------------------------------------------------------------------------


def classifier(inputs):
    return {"classes": [["a", "b"]] * len(inputs), "scores": [[0.25, 0.75]] * len(inputs)}


def test_examples_are_classified_and_regressed(http, fake_server):
    outputs = {"classes": TensorSpec("string", (None, 2)), "scores": TensorSpec("float32", (None, 2))}
    fake_server.add_model("c", classifier, inputs=EXAMPLES, outputs=outputs)
    fake_server.add_model("r", lambda inputs: list(map(len, inputs)), inputs=EXAMPLES, outputs={"outputs": VECTOR})
    answer = post(http, "c:classify", {"examples": [{"x": 1}, {}]}).json()
    assert answer == {"results": [[["a", 0.25], ["b", 0.75]]] * 2}
    plain, with_context = (
        post(http, "r:regress", {"examples": [{"x": 1}], **more}).json()["results"][0]
        for more in ({}, {"context": {"y": 2}})
    )
    assert with_context > plain
    text = "No signature was found with the name: s"
    assert refused(http, "r:classify", {"examples": [{}], "signature_name": "s"}) == (400, text)
    assert refused(http, "r:classify", {"examples": [{}]})[1].startswith("Expected classification signature outputs")


def test_bodies_with_examples_are_read_before_the_model_is_looked_up(http):
    assert refused(http, "ghost:regress", {"examples": []})[0] == 400
    assert refused(http, "ghost:regress", {"examples": [{}]})[0] == 404


# --- GET -------------------------------------------------------------------------------------------------------------


def test_status_lists_versions_and_ignores_labels(models, http):
    models.remove_model("m", 2)
    for path, versions in (("m", [2, 1]), ("m/labels/whatever", [2, 1]), ("m/versions/1", [1])):
        entries = http.get(f"/v1/models/{path}").json()["model_version_status"]
        assert [int(entry["version"]) for entry in entries] == versions
    assert http.get("/v1/models/m").text == (
        '{\n "model_version_status": [\n  {\n   "version": "2",\n   "state": "END",\n   "status": {\n'
        '    "error_code": "OK",\n    "error_message": ""\n   }\n  },\n  {\n   "version": "1",\n'
        '   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ghost", "Could not find any versions of model ghost"),
        ("m/versions/7", "Could not find version 7 of model m"),
        ("ghost?x=1", "Could not find any versions of model ghost?x=1"),
        ("metadata", "Could not find any versions of model metadata"),
    ],
)
def test_status_of_unknown_models_and_versions_is_not_found(models, http, path, text):
    response = http.get(f"/v1/models/{path}")
    assert (response.status_code, response.json()) == (404, {"error": text})


def test_metadata_is_laid_out_by_hand(http, fake_server):
    fake_server.add_model("a<b>", lambda: 1, inputs={}, outputs={"y": TensorSpec("int32", None)}, version=123)
    response = http.get("/v1/models/a%3Cb%3E/metadata")
    assert response.status_code == 200
    assert response.text == (
        '{\n"model_spec":{\n "name": "a\\u003cb\\u003e",\n "signature_name": "",\n "version": "123"\n}\n,\n'
        '"metadata": {"signature_def": {\n "signature_def": {\n  "serving_default": {\n   "inputs": {},\n'
        '   "outputs": {\n    "y": {\n     "name": "serving_default_out_y:0",\n     "dtype": "DT_INT32",\n'
        '     "tensor_shape": {\n      "unknown_rank": true,\n      "dim": []\n     }\n    }\n   },\n'
        '   "method_name": "tensorflow/serving/predict",\n   "defaults": {}\n  }\n }\n}\n}\n}\n'
    )


def test_metadata_shows_defaults_and_resolves_labels(models, http):
    signatures = http.get("/v1/models/opt/metadata").json()["metadata"]["signature_def"]["signature_def"]
    default = signatures["serving_default"]["defaults"]["c"]
    assert default["dtype"] == "DT_FLOAT"
    assert default["float_val"] == [100.0]
    assert default["tensor_shape"]["dim"] == [{"size": "1", "name": ""}]
    assert http.get("/v1/models/m/labels/stable/metadata").json()["model_spec"]["version"] == "1"


# --- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/m:predict?x=1"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:multi_inference"),
        ("POST", "/v1/models/m"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/versions/-1"),
        ("GET", "/v1/models/m/versions/1/labels/l"),
        ("GET", "/v1/"),
        ("PUT", "/v1/models/m"),
        ("DELETE", "/v1/models/m"),
        ("PATCH", "/v1/models/m"),
    ],
)
def test_requests_outside_the_api_are_refused(models, http, method, path):
    response = http.request(method, path)
    assert (response.status_code, response.json()) == (400, {"error": f"Malformed request: {method} {path}"})


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/versions/1", "/v1/models/labels/l/metadata"])
def test_a_model_must_be_named(http, path):
    response = http.get(path)
    assert (response.status_code, response.json()) == (400, {"error": "Missing model name in request."})


def test_case_counts_for_the_method_only(models, http):
    assert http.get("/V1/Models/m/VERSIONS/1").status_code == 200
    assert "model_version_status" in http.get("/v1/models/m/METADATA").json()


@pytest.mark.parametrize("version", ["9223372036854775808", "99999999999999999999999"])
def test_a_version_that_is_too_large_gets_an_empty_body(models, http, version):
    for response in (
        http.get(f"/v1/models/m/versions/{version}"),
        http.post(f"/v1/models/m/versions/{version}:predict"),
    ):
        assert (response.status_code, response.content) == (400, b"")
    assert http.get("/v1/models/m/versions/0000000000000000000000001").status_code == 200


def test_head_is_not_a_method_of_the_api(models, http):
    assert http.head("/v1/models/m").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "phrase"),
    [
        ("GET", "/", {}, 404, "Not Found"),
        ("GET", "/v1", {}, 404, "Not Found"),
        ("OPTIONS", "/v2/models", {}, 404, "Not Found"),
        ("TRACE", "/v1/models/m", {}, 501, "Not Implemented"),
        ("BREW", "/v1/models/m", {}, 501, "Not Implemented"),
        ("GET", "/v1/models/m", {"expect": "wonders"}, 417, "Expectation Failed"),
    ],
)
def test_requests_below_the_api_get_html_pages(http, method, path, headers, status, phrase):
    response = http.request(method, path, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html"
    assert response.headers["connection"] == "close"
    assert response.text == (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n"
    )


# --- headers and bodies ----------------------------------------------------------------------------------------------

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


@pytest.mark.parametrize("enabled", [True, False])
def test_cors_headers_come_with_every_answer_of_the_api(connect, enabled):
    with Server(ServerConfig(rest_port=0, rest_cors=enabled)) as server:
        http = connect(server.rest_url)
        for response in (
            http.get("/v1/models/m"),
            http.post("/v1/models/m:predict"),
            http.options("/v1/x", headers={"origin": "http://a"}),
            http.options("/v1/x"),
        ):
            assert {name: response.headers[name] for name in CORS if name in response.headers} == (
                CORS if enabled else {}
            )
        assert not set(CORS) & set(http.get("/elsewhere").headers)


@pytest.mark.parametrize(
    ("origin", "status"), [("http://a.example", 200), ("https://a", 200), ("ftp://a", 400), (None, 400)]
)
def test_a_preflight_needs_an_origin(http, origin, status):
    response = http.options("/v1/models/whatever", headers={"origin": origin} if origin else {})
    assert (response.status_code, response.content) == (status, b"")
    assert response.headers["content-type"] == "text/html; charset=ISO-8859-1"


def test_headers_of_every_answer(models, http):
    headers = http.get("/v1/models/m").headers
    assert headers["content-type"] == "application/json"
    assert headers["date"].endswith(" GMT")
    assert "server" not in headers
    assert "transfer-encoding" not in headers


BODY = b'{"instances": [1, 2]}'


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "my_gzip"])
def test_compressed_bodies(double, http, encoding):
    response = http.post(
        "/v1/models/double:predict", content=gzip.compress(BODY), headers={"content-encoding": encoding}
    )
    assert response.json() == {"predictions": [2, 4]}


def test_a_body_that_cannot_be_inflated_counts_as_empty(double, http):
    whole = gzip.compress(BODY)
    for data in (BODY, whole[:-1], whole + b"x", whole + whole, whole[:-1] + b"\x7f", b"", b"\x1f\x8b" * 20):
        response = http.post("/v1/models/double:predict", content=data, headers={"content-encoding": "gzip"})
        assert response.json() == {"error": "JSON Parse error: The document is empty"}
        assert response.status_code == 400


def test_other_encodings_are_ignored(double, http):
    for data, encoding in ((BODY, "GZIP"), (BODY, "deflate"), (zlib.compress(BODY), "deflate")):
        response = http.post("/v1/models/double:predict", content=data, headers={"content-encoding": encoding})
        assert (response.status_code == 200) == (data is BODY)


def test_the_inflated_size_is_limited():
    data = gzip.compress(bytes(1000))
    assert inflated(data, "gzip", 1000) == bytes(1000)
    assert inflated(data, "gzip", 999) == b""
    assert INFLATED_LIMIT == 100 << 20


def test_bodies_may_be_chunked(double, http):
    response = http.post("/v1/models/double:predict", content=iter([BODY[:5], BODY[5:]]))
    assert response.json() == {"predictions": [2, 4]}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(connect, chunked):
    with FakeServer(ServerConfig(rest_max_body=1000)) as server:
        server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        http = connect(server.rest_url)
        fits = BODY + b" " * (1000 - len(BODY))
        for data, status in ((fits, 200), (fits + b" ", 413), (bytes(3_000_000), 413), (fits, 200)):
            parts = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
            response = http.post("/v1/models/m:predict", content=iter(parts) if chunked else data)
            assert response.status_code == status
            if status == 413:
                assert response.headers["content-type"] == "application/json"
                assert response.json() == {"error": "the body has more than 1000 bytes"}
        assert len(server.calls) == 2


def test_a_body_declared_too_large_is_refused_before_it_arrives():
    with FakeServer(ServerConfig(rest_max_body=10)) as server:
        host, _, port = server.rest_url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, port)) as connection:
            connection.sendall(
                b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


# --- records ---------------------------------------------------------------------------------------------------------


def test_calls_are_recorded_like_those_over_grpc(models, http, plain):
    post(http, "m/labels/stable:predict", {"inputs": [1]})
    body = {"inputs": {"a": [1], "b": [2]}, "signature_name": "serving_default"}
    response = http.post("/v1/models/two:predict", json=body, headers={"X-Trace": "seven"})
    assert response.status_code == 200
    http.get("/v1/models/m")
    http.get("/v1/models/m/versions/2/metadata")
    http.get("/v1/nothing")
    plain.status({"name": "m"})
    first, second = models.calls
    third, fourth, last = models.lookups
    assert (first.method, first.model, first.version, first.code) == ("Predict", "m", 1, StatusCode.INVALID_ARGUMENT)
    assert first.details.startswith("Failed to get input map")
    assert (second.method, second.model, second.version, second.signature) == ("Predict", "two", 1, "serving_default")
    assert second.inputs["a"].tolist() == [1]
    assert second.outputs["z"].tolist() == [-1]
    assert second.metadata["x-trace"] == "seven"
    assert second.metadata["content-type"] == "application/json"
    assert (third.method, third.version, third.code) == ("GetModelStatus", None, StatusCode.OK)
    assert (fourth.method, fourth.version) == ("GetModelMetadata", 2)
    assert [call.transport for call in all_calls(models)] == ["rest"] * 4 + ["grpc"]
    assert last.method == "GetModelStatus"


def test_classify_and_regress_are_recorded(http, fake_server):
    for verb in ("classify", "regress"):
        refused(http, f"ghost:{verb}", {"examples": [{}], "signature_name": "s"})
    assert [(call.method, call.model, call.signature) for call in fake_server.calls] == [
        ("Classify", "ghost", "s"),
        ("Regress", "ghost", "s"),
    ]


def test_a_failing_observer_does_not_affect_the_reply(connect):
    def fail(call):
        raise RuntimeError("no")

    with Server(ServerConfig(rest_port=0), observer=fail) as server:
        assert connect(server.rest_url).get("/v1/models/m").status_code == 404


# --- at the same time ------------------------------------------------------------------------------------------------


def test_calls_run_at_the_same_time(fake_server, connect):
    barrier = threading.Barrier(3)

    def meet(x):
        barrier.wait(10)
        return x

    fake_server.add_model("f", meet, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    url = fake_server.rest_url

    def call(n):
        with httpx.Client(base_url=url) as http:
            return post(http, "f:predict", {"instances": [n]}).json()["predictions"]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(call, range(3))) == [[0], [1], [2]]


def test_a_call_that_takes_too_long_is_a_504(connect, gate):
    with FakeServer(ServerConfig(rest_timeout=0.05)) as server:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        http = connect(server.rest_url)
        assert refused(http, "slow:predict", {"instances": [1]}) == (504, "Timed out waiting for notification")
        (call,) = server.calls
        assert (call.code, call.details) == (StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        gate.open.set()
        assert http.get("/v1/models/slow").status_code == 200
    assert (len(server.calls), len(server.lookups)) == (1, 1)  # the end of the first one is not recorded twice


@pytest.mark.parametrize("limit", [0, -1, float("inf")])
def test_the_time_limit_can_be_disabled(connect, limit):
    with FakeServer(ServerConfig(rest_timeout=limit)) as server:
        server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        assert post(connect(server.rest_url), "m:predict", {"instances": [1]}).status_code == 200


def test_a_client_that_gives_up_is_recorded(gated, gate):
    with httpx.Client(base_url=gated.rest_url, timeout=0.2) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/models/slow:predict", content=BODY)
    (call,) = gated.calls
    assert gate.entered.is_set()
    assert (call.code, call.details) == (StatusCode.CANCELLED, "the client gave up")


def test_a_large_image_does_not_take_long(http, fake_server):
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    spec = TensorSpec("float32", (None, None, None, 3))
    fake_server.add_model("image", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
    answer = post(http, "image:predict", {"instances": image.tolist()}).json()
    np.testing.assert_array_equal(np.float32(answer["predictions"]), image)


# --- the page of metrics ---------------------------------------------------------------------------------------------


@pytest.fixture
def measured(connect):
    """An HTTP client of a server that has the page of metrics at /metrics; its model doubles."""
    with Server(ServerConfig(rest_port=0, metrics_path="/metrics", rest_timeout=0.2)) as server:
        double = FunctionSignature(lambda x: 2 * x, {"x": VECTOR}, {"y": VECTOR})
        server.add_model("m", {"serving_default": double})
        yield server, connect(server.rest_url)


def test_the_page_counts_calls_over_rest(measured):
    _, http = measured
    for path in ("m:predict", "m:predict", "nobody:predict"):
        http.post(f"/v1/models/{path}", json={"instances": [1.0]})
    http.get("/v1/models/m")
    http.get("/v1/malformed")
    page = http.get("/metrics")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain")
    for series in (
        'request_count{model_name="m",status="OK"} 3',
        'request_count{model_name="nobody",status="NOT_FOUND"} 1',
        'request_count{model_name="",status="INVALID_ARGUMENT"} 1',
        'request_latency_count{model_name="m",API="predict",entrypoint="REST"} 2',
        'request_latency_count{model_name="m",API="",entrypoint="REST"} 1',
        'runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 2',
    ):
        assert f":tensorflow:serving:{series}\n" in page.text


def test_a_call_over_its_time_limit_is_counted_as_such(measured, gate):
    server, http = measured
    server.add_model("slow", {"serving_default": FunctionSignature(gate, {"x": VECTOR}, {"y": VECTOR})})
    http.post("/v1/models/slow:predict", json={"instances": [1.0]})
    assert 'request_count{model_name="slow",status="DEADLINE_EXCEEDED"} 1\n' in http.get("/metrics").text


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_the_page_is_the_same_for_every_method(measured, method):
    response = measured[1].request(method, "/metrics")
    assert (response.status_code, response.text[:7]) == (200, "# TYPE ")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/metrics?name=a", 400, "Unexpected path: /metrics?name=a. Should be /metrics"),
        ("/metrics/", 404, "<HTML>"),
        ("/Metrics", 404, "<HTML>"),
        ("/monitoring/prometheus/metrics", 404, "<HTML>"),
    ],
)
def test_the_path_of_the_page_is_matched_exactly(measured, path, status, text):
    response = measured[1].get(path)
    assert (response.status_code, response.text[: len(text)]) == (status, text)


def test_the_metrics_page_may_be_under_the_apis_path(connect):
    with Server(ServerConfig(rest_port=0, metrics_path="/v1/models/m")) as server:
        assert connect(server.rest_url).get("/v1/models/m").text.startswith("# TYPE ")


def test_the_metrics_page_needs_the_token(connect):
    with Server(ServerConfig(rest_port=0, metrics_path="/metrics", token="secret")) as server:
        http = connect(server.rest_url)
        assert http.get("/metrics").status_code == 401
        assert http.get("/v1/models/m").status_code == 401
        page = http.get("/metrics", headers={"Authorization": "Bearer secret"})
        assert 'request_count{model_name="",status="UNAUTHENTICATED"} 1\n' in page.text


def test_calls_over_grpc_are_on_the_page_too(measured):
    server, http = measured
    with PredictClient(server.target, model="m") as client:
        client.predict({"x": np.float32([1])})
    assert 'request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 1\n' in http.get("/metrics").text


@pytest.mark.parametrize(("limit", "known"), [(5.0, True), (0.0, False), (-1.0, False), (float("inf"), False)])
def test_the_model_knows_the_time_limit_of_a_call(connect, limit, known):
    seen = []

    def model(x):
        seen.append(deadline())
        return x

    with Server(ServerConfig(rest_port=0, rest_timeout=limit)) as server:
        server.add_model("m", {"serving_default": FunctionSignature(model, {"x": VECTOR}, {"y": VECTOR})})
        post(connect(server.rest_url), "m:predict", {"instances": [1.0]})
    (end,) = seen
    assert (end is not None and end != float("inf")) == known
    assert not known or 0 < end - time.monotonic() < limit
