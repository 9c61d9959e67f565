"""What callers of the service see when the model server fails, over gRPC and REST."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from digit_models import add_digits, brightest_row, picture

from tfs_client import InternalError
from tfs_client.testing import faults


@pytest.mark.parametrize("fault", [faults.Status("UNAVAILABLE", "restarting"), faults.ConnectionReset()])
def test_a_call_is_retried_while_the_server_restarts(digits, fake_target, start_service, fault):
    service = start_service(fake_target)
    digits.faults.add(fault, times=1)
    assert service.post("/v1/digits", json=picture(3)).json["digit"] == 3


def test_retries_end(digits, fake_target, start_service):
    service = start_service(fake_target, attempts=2)
    with digits.faults.add(faults.Status("UNAVAILABLE", "restarting")) as fault:
        reply = service.post("/v1/digits", json=picture(3))
        assert fault.used == 2
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert reply.json["error"]["code"] == "unavailable"
    assert "restarting" not in reply.text


def test_a_slow_model_is_a_timeout(digits, fake_target, start_service):
    service = start_service(fake_target, timeout=0.3)
    service.post("/v1/digits", json=picture(3))  # connects, which may take a while on a busy machine
    digits.faults.add(faults.DeadlineOverrun())
    reply = service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 504
    assert reply.json["error"]["code"] == "timeout"


def test_a_server_that_stays_busy_is_an_overload(digits, fake_target, start_service):
    service = start_service(fake_target, timeout=0.3)
    service.post("/v1/digits", json=picture(3))
    digits.faults.add(faults.Busy())
    reply = service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json["error"]["code"] == "busy"


def test_more_requests_than_may_wait_are_refused_at_once(fake_server, start_service):
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(10)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    service = start_service(fake_server.target, timeout=10, max_waiting=1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(service.post, "/v1/digits", json=picture(3))
        assert entered.wait(10)
        refused = [service.post(path, json=picture(4)) for path in ("/v1/digits", "/v1/versions/1/digits")]
        alive = service.get("/healthz")
        release.set()
        assert waiting.result(10).json["digit"] == 3
    assert [reply.status_code for reply in refused] == [429, 429]
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json["error"]["code"] == "overloaded"
    assert alive.status_code == 200
    assert service.post("/v1/digits", json=picture(4)).json["digit"] == 4


def test_a_request_that_fails_makes_room_for_the_next(digits, start_service):
    service = start_service(digits.target, max_waiting=1)
    with digits.faults.add(faults.Status("INTERNAL", "out of memory")):
        assert service.post("/v1/digits", json=picture(3)).status_code == 502
    assert service.post("/v1/digits", json=picture(3)).status_code == 200


def test_a_reply_that_cannot_be_read_is_a_bad_gateway(digits, fake_target, start_service):
    service = start_service(fake_target)
    digits.faults.add(faults.GarbageReply())
    reply = service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 502
    assert reply.json["error"]["code"] == "malformed_reply"


@pytest.mark.fake_server(strict=True)
def test_a_model_that_fails_is_a_bad_gateway(digits, fake_target, start_service):
    digits.expect("digits", InternalError("out of memory at 0x7f"))
    service = start_service(fake_target)
    reply = service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 502
    assert reply.json["error"]["code"] == "model_failed"
    assert "0x7f" not in reply.text


def test_what_the_model_server_says_about_the_input_stays_in_the_log(digits, fake_target, start_service, caplog):
    service = start_service(fake_target)
    digits.faults.add(faults.Status("INVALID_ARGUMENT", "Incompatible shapes [[{{node dense/MatMul}}]]"))
    caplog.set_level("INFO")
    reply = service.post("/v1/versions/1/digits", json=picture(3))
    assert reply.status_code == 400
    assert reply.json["error"]["code"] == "invalid_input"
    assert "MatMul" not in reply.text
    assert "MatMul" in caplog.text


def test_a_text_of_the_model_server_cannot_forge_lines_of_the_log(digits, start_service, caplog):
    service = start_service(digits.target)
    digits.faults.add(faults.Status("INTERNAL", "broken\nERROR request order-18: 502"))
    service.post("/v1/digits", json=picture(3), headers={"x-request-id": "order-17"})
    lines = [record.getMessage() for record in caplog.records if record.name == "digit_app.app"]
    assert [line.partition(": Predict")[0] for line in lines] == ["request order-17: 502"]
    assert r"broken\nERROR request order-18" in lines[0]
    assert "\n" not in lines[0]


def test_shared_calls_that_reach_no_server_are_unavailable(fake_server, start_service):
    target = fake_server.target
    fake_server.stop()
    service = start_service(target, timeout=0.3, batch_delay=0.1)

    def post(timeout):
        headers = {"x-request-timeout": timeout}
        return service.application.test_client().post("/v1/digits", json=picture(1), headers=headers)

    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(post, ["0.2", "0.3", "0.4", "0.5"]))
    assert [reply.status_code for reply in replies] == [503] * 4


@pytest.mark.parametrize("path", ["/v1/digits", "/v1/versions/1/digits"])
def test_the_call_ends_when_the_caller_gives_up(digits, fake_target, start_service, path):
    service = start_service(fake_target, timeout=30)
    service.post("/v1/digits", json=picture(3))
    digits.faults.add(faults.DeadlineOverrun())
    reply = service.post(path, json=picture(3), headers={"x-request-timeout": "0.2"})
    assert reply.status_code == 504


def test_a_caller_cannot_wait_for_longer_than_the_service_allows(digits, service):
    service.post("/v1/versions/1/digits", json=picture(3), headers={"x-request-timeout": "60"})
    assert digits.calls[0].timeout <= 5


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", "1e9"])
def test_a_timeout_that_makes_no_sense_is_refused(digits, service, timeout):
    reply = service.post("/v1/digits", json=picture(3), headers={"x-request-timeout": timeout})
    assert reply.status_code == 400
    assert "x-request-timeout" in reply.json["error"]["message"]
    assert digits.calls == []
