"""What operators of the service rely on: health, metrics, request ids, shutdown."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from digit_models import add_digits, brightest_row, picture
from digit_service.app import create_app
from digit_service.settings import Settings

pytestmark = pytest.mark.anyio


async def test_the_service_is_ready_once_the_model_is_served(fake_server, start_service):
    service = await start_service(fake_server.target)
    assert (await service.get("/healthz")).status_code == 200
    assert (await service.get("/readyz")).status_code == 503
    add_digits(fake_server)
    assert (await service.get("/readyz")).status_code == 200


async def test_the_service_is_not_ready_while_the_model_loads(digits, service):
    with digits.states.loading("digits", 1):
        assert (await service.get("/readyz")).status_code == 503
        reply = await service.post("/v1/digits", json=picture(3))
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "unavailable"
    assert (await service.post("/v1/digits", json=picture(3))).status_code == 200


async def test_the_service_starts_without_a_model_server(start_service):
    service = await start_service("127.0.0.1:9", timeout=0.2)
    assert (await service.get("/healthz")).status_code == 200
    assert (await service.get("/readyz")).status_code == 503
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "unavailable"


async def test_probes_share_an_answer(digits, start_service):
    service = await start_service(digits.target, ready_for=60)
    replies = await asyncio.gather(*(service.get("/readyz") for _ in range(5)))
    assert {reply.status_code for reply in replies} == {200}
    assert len(digits.lookups) == 1


async def test_metrics_count_requests_by_route_and_calls_by_code(digits, service):
    await service.post("/v1/digits", json=picture(3))
    await service.post("/v1/versions/7/digits", json=picture(3))
    metrics = (await service.get("/metrics")).text.splitlines()
    assert 'digits_requests_total{route="/v1/digits",status="200"} 1.0' in metrics
    assert 'digits_requests_total{route="/v1/versions/{version}/digits",status="404"} 1.0' in metrics
    assert 'digits_request_seconds_count{route="/v1/digits"} 1.0' in metrics
    for code in ("OK", "NOT_FOUND"):
        labels = f'code="{code}",method="Predict",model="digits",transport="grpc"'
        assert f"tfs_client_calls_total{{{labels}}} 1.0" in metrics
    assert "digits_waiting 0.0" in metrics


async def test_a_callers_request_id_is_in_the_reply_and_in_the_call_for_a_version(digits, service):
    reply = await service.post("/v1/versions/1/digits", json=picture(3), headers={"x-request-id": "order-17"})
    assert reply.headers["x-request-id"] == "order-17"
    assert digits.calls[0].metadata["x-request-id"] == "order-17"


async def test_a_shared_call_has_an_id_of_its_own(digits, service):
    reply = await service.post("/v1/digits", json=picture(3), headers={"x-request-id": "order-17"})
    assert reply.headers["x-request-id"] == "order-17"
    assert digits.calls[0].metadata["x-request-id"] not in ("", "order-17")


async def test_a_request_id_that_could_forge_log_lines_is_replaced(service):
    reply = await service.get("/healthz", headers={"x-request-id": "a b\tERROR"})
    assert len(reply.headers["x-request-id"]) == 32


async def test_an_error_that_nothing_handles_is_logged_counted_and_answered(caplog):
    app = create_app(Settings(target="127.0.0.1:9"))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("password 1234")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as service:
        reply = await service.get("/broken", headers={"x-request-id": "order-17"})
        metrics = (await service.get("/metrics")).text.splitlines()
    assert reply.status_code == 500
    assert reply.headers["x-request-id"] == "order-17"
    error = {"code": "internal_server_error", "message": "the service failed", "request_id": "order-17"}
    assert reply.json() == {"error": error}
    assert 'digits_requests_total{route="/broken",status="500"} 1.0' in metrics
    assert "request order-17: 500" in caplog.text
    assert "RuntimeError: password 1234" in caplog.text


async def test_a_stopping_service_answers_the_requests_that_it_has(fake_server):
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(10)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    app = create_app(Settings(target=fake_server.target, timeout=10))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as service,
        app.router.lifespan_context(app),
    ):
        request = asyncio.create_task(service.post("/v1/digits", json=picture(3)))
        await asyncio.to_thread(entered.wait, 10)
        asyncio.get_running_loop().call_later(0.05, release.set)
    reply = await asyncio.wait_for(request, 10)  # the client is closed by now
    assert reply.json() == {"digit": 3, "probability": 1.0, "version": 1}


def test_settings_come_from_the_environment():
    settings = Settings.from_environment({"DIGITS_TARGET": "tf-serving:8500", "DIGITS_TIMEOUT": "0.5"})
    assert (settings.target, settings.timeout, settings.model) == ("tf-serving:8500", 0.5, "digits")
    with pytest.raises(ValueError, match="could not convert string to float: 'soon'"):
        Settings.from_environment({"DIGITS_TIMEOUT": "soon"})
