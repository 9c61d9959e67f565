"""What operators of the service rely on: health, metrics, request ids, new versions, shutdown."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from digit_app.settings import Settings
from digit_models import add_digits, always_seven, brightest_row, picture


def test_the_service_is_ready_once_the_model_is_served(fake_server, start_service):
    service = start_service(fake_server.target)
    assert service.get("/healthz").status_code == 200
    assert service.get("/readyz").status_code == 503
    add_digits(fake_server)
    assert service.get("/readyz").status_code == 200


def test_probes_share_an_answer(digits, start_service):
    service = start_service(digits.target, ready_for=60)
    assert {service.get("/readyz").status_code for _ in range(5)} == {200}
    assert len(digits.lookups) == 1


def test_metrics_count_requests_by_route_and_calls_by_code(digits, service):
    service.post("/v1/digits", json=picture(3))
    service.post("/v1/versions/7/digits", json=picture(3))
    metrics = service.get("/metrics").text.splitlines()
    assert 'digits_requests_total{route="/v1/digits",status="200"} 1.0' in metrics
    assert 'digits_requests_total{route="/v1/versions/<int:version>/digits",status="404"} 1.0' in metrics
    assert 'digits_request_seconds_count{route="/v1/digits"} 1.0' in metrics
    for code in ("OK", "NOT_FOUND"):
        labels = f'code="{code}",method="Predict",model="digits",transport="grpc"'
        assert f"tfs_client_calls_total{{{labels}}} 1.0" in metrics


def test_a_callers_request_id_is_in_the_reply_and_in_the_call_for_a_version(digits, service):
    reply = service.post("/v1/versions/1/digits", json=picture(3), headers={"x-request-id": "order-17"})
    assert reply.headers["x-request-id"] == "order-17"
    assert digits.calls[0].metadata["x-request-id"] == "order-17"


def test_an_error_that_nothing_handles_is_logged_counted_and_answered(digits, service, caplog):
    @service.application.get("/broken")
    def broken() -> None:
        raise RuntimeError("password 1234")

    reply = service.get("/broken", headers={"x-request-id": "order-17"})
    assert reply.status_code == 500
    assert reply.headers["x-request-id"] == "order-17"
    error = {"code": "internal_server_error", "message": "the service failed", "request_id": "order-17"}
    assert reply.json == {"error": error}
    assert 'digits_requests_total{route="/broken",status="500"} 1.0' in service.get("/metrics").text.splitlines()
    assert "request order-17: 500" in caplog.text
    assert "RuntimeError: password 1234" in caplog.text


def test_a_new_version_answers_as_soon_as_it_is_served(digits, service):
    assert service.post("/v1/digits", json=picture(3)).json["version"] == 1
    add_digits(digits, always_seven, version=2)
    digits.remove_model("digits", 1)
    assert service.post("/v1/digits", json=picture(3)).json["digit"] == 7
    reply = service.post("/v1/versions/1/digits", json=picture(3))
    assert reply.status_code == 404
    assert reply.json["error"]["message"] == "version 1 is not served"


def test_a_stopping_service_answers_the_requests_that_it_has(fake_server, start_service):
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(10)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    service = start_service(fake_server.target, timeout=10)
    with ThreadPoolExecutor(2) as threads:
        reply = threads.submit(service.post, "/v1/digits", json=picture(3))
        assert entered.wait(10)
        closed = threads.submit(service.application.extensions["digits"].close)
        release.set()
        closed.result(10)
        assert reply.result(10).json["digit"] == 3


def test_settings_come_from_the_environment():
    settings = Settings.from_environment({"DIGITS_TARGET": "tf-serving:8500", "DIGITS_TIMEOUT": "0.5"})
    assert (settings.target, settings.timeout, settings.attempts) == ("tf-serving:8500", 0.5, 3)
    with pytest.raises(ValueError, match="could not convert string to float: 'soon'"):
        Settings.from_environment({"DIGITS_TIMEOUT": "soon"})
