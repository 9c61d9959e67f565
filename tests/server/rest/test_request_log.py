"""The log of HTTP requests: which lines a request leaves once it is turned on, with the model server's texts."""

from __future__ import annotations

import gzip
import logging

import httpx
import pytest

from tfs_client import TensorSpec
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.rest import request_log

VECTOR = TensorSpec("float32", (None,))
BODY = b'{"instances": [1]}'
PREDICT = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def http():
    """A client of a server that takes bodies of 1000 bytes."""
    signature = FunctionSignature(lambda x: {"y": x}, {"x": VECTOR}, {"y": VECTOR})
    with Server(ServerConfig(rest_port=0, rest_max_body=1000, metrics_path="/metrics")) as server:
        server.add_model("m", {"serving_default": signature})
        with httpx.Client(base_url=server.rest_url, timeout=20) as http:
            yield http


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG, request_log.log.name)
    return lambda: [record.getMessage() for record in caplog.records if record.name == request_log.log.name]


def processing(request, size):
    return f"Processing HTTP request: {request} body: {size} bytes."


def failed(request, error):
    return f"Error Processing HTTP/REST request: {request} Error: {error}"


@pytest.mark.parametrize(
    ("method", "path", "options", "size", "error"),
    [
        ("POST", PREDICT, {"content": BODY}, len(BODY), None),
        (
            "POST",
            f"{PREDICT}?x",
            {"content": BODY},
            len(BODY),
            f"INVALID_ARGUMENT: Malformed request: POST {PREDICT}?x",
        ),
        ("GET", "/v1/models/m", {}, 0, None),
        ("GET", "/v1/models/nope", {}, 0, "NOT_FOUND: Could not find any versions of model nope"),
        ("OPTIONS", "/v1/models/m", {"headers": {"origin": "http://a"}}, 0, None),
        ("OPTIONS", "/v1/models/m", {}, 0, "FAILED_PRECONDITION: "),
        ("POST", PREDICT, {"content": bytes(1001)}, 1001, "RESOURCE_EXHAUSTED: the body has more than 1000 bytes"),
        ("POST", PREDICT, {"content": gzip.compress(BODY), "headers": {"content-encoding": "gzip"}}, len(BODY), None),
    ],
)
def test_a_request_and_its_error_are_logged(http, lines, method, path, options, size, error):
    http.request(method, path, **options)
    request = f"{method} {path}"
    assert lines() == [processing(request, size)] + ([] if error is None else [failed(request, error)])


def test_a_path_that_the_api_does_not_have_is_ignored(http, lines):
    assert http.get("/nothing?x").status_code == 404
    assert lines() == ["Ignoring HTTP request: GET /nothing?x"]


def test_other_pages_are_not_logged(http, lines):
    assert http.get("/metrics").status_code == 200
    assert lines() == []
