"""What callers of the service see when the model server fails, over gRPC and REST."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from digit_models import add_digits, brightest_row, picture

from tfs_client import InternalError, TensorSpec
from tfs_client.testing import faults

pytestmark = pytest.mark.anyio


async def test_a_call_is_retried_while_the_server_restarts(digits, fake_target, start_service):
    service = await start_service(fake_target)
    digits.faults.add(faults.Status("UNAVAILABLE", "restarting"), times=2)
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.json()["digit"] == 3
    digits.assert_called("digits", times=3)


async def test_a_call_is_retried_when_its_connection_breaks(digits, fake_target, start_service):
    service = await start_service(fake_target)
    digits.faults.add(faults.ConnectionReset(), times=1)
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.json()["digit"] == 3


async def test_retries_end(digits, fake_target, start_service):
    service = await start_service(fake_target, attempts=2)
    with digits.faults.add(faults.Status("UNAVAILABLE", "restarting")) as fault:
        reply = await service.post("/v1/digits", json=picture(3))
        assert fault.used == 2
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["error"]["code"] == "unavailable"
    assert "restarting" not in reply.text


async def test_a_slow_model_is_a_timeout(digits, fake_target, start_service):
    service = await start_service(fake_target, timeout=0.3)
    await service.post("/v1/digits", json=picture(3))  # connects, which may take a while on a busy machine
    digits.faults.add(faults.DeadlineOverrun())
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "timeout"


async def test_requests_wait_for_a_server_that_is_busy_for_a_moment(digits, fake_target, start_service):
    service = await start_service(fake_target)
    digits.faults.add(faults.Busy("threads"), times=2)
    assert (await service.post("/v1/digits", json=picture(3))).json()["digit"] == 3


@pytest.mark.parametrize(
    ("fault", "status"),
    [(faults.Busy("threads"), 429), (faults.Busy("no details"), 429), (faults.QueueFull(), 503)],
    ids=["threads", "no details", "queue, which the server reports as UNAVAILABLE"],
)
async def test_a_server_that_stays_busy_is_an_overload(digits, start_service, fault, status):
    service = await start_service(digits.target, timeout=0.3)
    await service.post("/v1/digits", json=picture(3))
    digits.faults.add(fault)
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == status
    assert int(reply.headers["retry-after"]) >= 1


async def test_more_requests_than_may_wait_are_refused_at_once(fake_server, start_service):
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(10)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    service = await start_service(fake_server.target, timeout=10, max_waiting=1)
    waiting = asyncio.create_task(service.post("/v1/digits", json=picture(3)))
    await asyncio.to_thread(entered.wait, 10)
    refused = await service.post("/v1/digits", json=picture(4))
    release.set()
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "overloaded"
    assert (await waiting).json()["digit"] == 3


async def test_a_reply_that_cannot_be_read_is_a_bad_gateway(digits, fake_target, start_service):
    service = await start_service(fake_target)
    digits.faults.add(faults.GarbageReply())
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "malformed_reply"


async def test_a_model_with_other_outputs_is_a_bad_gateway(fake_server, start_service):
    inputs = {"image": TensorSpec("float32", (None, 8, 8, 1))}
    outputs = {"class": TensorSpec("int64", (None,))}
    fake_server.add_model("digits", lambda image: np.full(len(image), 3), inputs=inputs, outputs=outputs)
    service = await start_service(fake_server.target)
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "malformed_reply"


@pytest.mark.fake_server(strict=True)
async def test_a_model_that_fails_is_a_bad_gateway(digits, fake_target, start_service):
    digits.expect("digits", InternalError("out of memory at 0x7f"))
    service = await start_service(fake_target)
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "model_failed"
    assert "0x7f" not in reply.text


async def test_what_the_model_server_says_about_the_input_stays_in_the_log(digits, fake_target, start_service, caplog):
    service = await start_service(fake_target)
    caplog.set_level("INFO")
    digits.faults.add(faults.Status("INVALID_ARGUMENT", "Incompatible shapes [[{{node dense/MatMul}}]]"))
    reply = await service.post("/v1/versions/1/digits", json=picture(3))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_input"
    assert "MatMul" not in reply.text
    assert "MatMul" in caplog.text


async def test_a_text_of_the_model_server_cannot_forge_lines_of_the_log(digits, start_service, caplog):
    service = await start_service(digits.target)
    digits.faults.add(faults.Status("INTERNAL", "broken\nERROR request order-18: 502"))
    await service.post("/v1/digits", json=picture(3), headers={"x-request-id": "order-17"})
    lines = [record.getMessage() for record in caplog.records if record.name == "digit_service.app"]
    assert [line.partition(": Predict")[0] for line in lines] == ["request order-17: 502"]
    assert r"broken\nERROR request order-18" in lines[0]
    assert "\n" not in lines[0]


async def test_shared_calls_that_reach_no_server_are_unavailable(fake_server, start_service):
    target = fake_server.target
    fake_server.stop()
    service = await start_service(target, timeout=0.3, batch_delay=0.1)
    calls = [service.post("/v1/digits", json=picture(n), headers={"x-request-timeout": f"0.{n}"}) for n in (2, 3, 4, 5)]
    replies = await asyncio.gather(*calls)
    assert [reply.status_code for reply in replies] == [503] * 4


async def test_the_call_ends_when_the_caller_gives_up(digits, fake_target, start_service):
    service = await start_service(fake_target, timeout=30)
    await service.post("/v1/digits", json=picture(3))
    digits.faults.add(faults.DeadlineOverrun())
    for path in ("/v1/digits", "/v1/versions/1/digits"):
        reply = await service.post(path, json=picture(3), headers={"x-request-timeout": "0.2"})
        assert reply.status_code == 504


async def test_a_caller_cannot_wait_for_longer_than_the_service_allows(digits, service):
    await service.post("/v1/versions/1/digits", json=picture(3), headers={"x-request-timeout": "60"})
    assert digits.calls[0].timeout <= 5


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", "1e9"])
async def test_a_timeout_that_makes_no_sense_is_refused(digits, service, timeout):
    reply = await service.post("/v1/digits", json=picture(3), headers={"x-request-timeout": timeout})
    assert reply.status_code == 400
    assert "x-request-timeout" in reply.json()["error"]["message"]
    assert digits.calls == []
