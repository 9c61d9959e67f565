"""What callers of the service see when all is well, and when they are wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from digit_models import picture


def test_a_picture_is_classified(service):
    reply = service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 200
    assert reply.json == {"digit": 3, "probability": 1.0, "version": 1}


def test_threads_share_calls(digits, start_service):
    app = start_service(digits.target, batch_delay=0.1).application
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda n: app.test_client().post("/v1/digits", json=picture(n)), range(8)))
    assert [reply.json["digit"] for reply in replies] == [*range(8)]
    assert len(digits.calls) < 8


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([[0.5] * 28] * 28, "'image' expects float32 (?, 8, 8, 1), got float32 (1, 28, 28, 1)"),
        ([[0.5] * 8, [0.5] * 7], "the rows have different lengths"),
        ([["0.5"] * 8] * 8, "expected a list of rows, and each row a list of numbers"),
        (None, "expected a list of rows, and each row a list of numbers"),
        ([[2.0] * 8] * 8, "expected numbers from 0 to 1"),
        ([[float("nan")] * 8] * 8, "expected numbers from 0 to 1"),
    ],
    ids=["another size", "ragged", "text", "missing", "too bright", "NaN"],
)
def test_wrong_input_is_the_callers_fault(digits, service, pixels, message):
    reply = service.post("/v1/digits", json={"pixels": pixels})
    assert reply.status_code == 400
    assert reply.json["error"]["code"] == "invalid_input"
    assert message in reply.json["error"]["message"]
    assert digits.calls == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(64 << 10, 200), ((64 << 10) + 1, 413), (1 << 20, 413)])
def test_a_body_that_is_too_large_is_refused(service, size, status, chunked):
    body = json.dumps(picture(3)).encode().ljust(size)
    framing = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""} if chunked else {}  # as gunicorn says it
    reply = service.post("/v1/digits", data=body, content_type="application/json", environ_overrides=framing)
    assert reply.status_code == status
    assert status == 200 or reply.json["error"]["code"] == "request_entity_too_large"


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"pixels": ' + b"[" * 60_000, b"\xff", b'{"pixels": [[1'])
def test_a_body_that_is_not_json_is_the_callers_fault(digits, service, body):
    reply = service.post("/v1/digits", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert reply.json["error"]["code"] == "invalid_input"
    assert reply.json["error"]["request_id"] == reply.headers["x-request-id"]
    assert digits.calls == []


@pytest.mark.parametrize("path", ["/v2/digits", f"/v1/versions/{1 << 63}/digits"])
def test_a_path_that_does_not_exist_is_an_error_in_json(digits, service, path):
    reply = service.post(path, json=picture(3))
    assert reply.status_code == 404
    assert reply.json["error"]["code"] == "not_found"
    assert reply.json["error"]["request_id"] == reply.headers["x-request-id"]
    assert digits.calls == []


def test_a_wrong_method_is_an_error_in_json_with_the_right_one(service):
    reply = service.get("/v1/digits")
    assert reply.status_code == 405
    assert {*reply.headers["allow"].split(", ")} == {"POST", "OPTIONS"}
    assert reply.headers.getlist("content-type") == ["application/json"]
    assert reply.json["error"]["code"] == "method_not_allowed"
