"""What callers of the service see when all is well, and when they are wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import numpy as np
import pytest
from digit_models import picture

pytestmark = pytest.mark.anyio


async def test_a_picture_is_classified(service):
    reply = await service.post("/v1/digits", json=picture(3))
    assert reply.status_code == 200
    assert reply.json() == {"digit": 3, "probability": 1.0, "version": 1}


async def test_concurrent_requests_share_calls(digits, start_service):
    service = await start_service(digits.target, batch_delay=0.05)
    replies = await asyncio.gather(*(service.post("/v1/digits", json=picture(n)) for n in range(8)))
    assert [reply.json()["digit"] for reply in replies] == [*range(8)]
    assert [len(call.inputs["image"]) for call in digits.calls] == [8]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([[0.5] * 28] * 28, "'image' expects float32 (?, 8, 8, 1), got float32 (1, 28, 28, 1)"),
        ([[0.5] * 8, [0.5] * 7], "the rows have different lengths"),
        ([[2.0] * 8] * 8, "Input should be less than or equal to 1"),
    ],
    ids=["another size", "ragged", "too bright"],
)
async def test_wrong_input_is_the_callers_fault(digits, service, pixels, message):
    reply = await service.post("/v1/digits", json={"pixels": pixels})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_input"
    assert message in reply.json()["error"]["message"]
    assert digits.calls == []


def _pieces(sent: list[int]) -> AsyncIterator[bytes]:
    """A body without a Content-Length, in pieces of 1 KiB; ``sent`` counts them."""

    async def pieces() -> AsyncIterator[bytes]:
        while len(sent) < 1000:
            sent.append(1024)
            yield b" " * 1024

    return pieces()


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(digits, service):
    sent: list[int] = []
    reply = await service.post("/v1/digits", content=_pieces(sent), headers={"content-type": "application/json"})
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_entity_too_large"
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]
    assert len(sent) < 100
    assert digits.calls == []


async def test_a_body_that_announces_its_size_is_refused_unread(service):
    sent: list[int] = []
    headers = {"content-type": "application/json", "content-length": str(1000 * 1024)}
    reply = await service.post("/v1/digits", content=_pieces(sent), headers=headers)
    assert reply.status_code == 413
    assert sent == []


async def test_a_body_of_the_largest_size_is_read(service):
    body = json.dumps(picture(3)).encode().ljust(64 << 10)
    reply = await service.post("/v1/digits", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 200


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"pixels": ' + b"[" * 60_000, b"\xff", b'{"pixels": [[1'])
async def test_a_body_that_is_not_json_is_the_callers_fault(digits, service, body):
    reply = await service.post("/v1/digits", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]
    assert digits.calls == []


@pytest.mark.fake_server(strict=True)
async def test_the_model_gets_the_picture(digits, fake_target, start_service):
    """The fixture is strict: the test fails if this call is missing, or if there is another one."""
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[0, 3] = 1
    outputs = {"digit": np.int64([3]), "probabilities": np.full((1, 10), 0.1, np.float32)}
    digits.expect("digits", outputs, inputs={"image": image})
    service = await start_service(fake_target)
    assert (await service.post("/v1/digits", json=picture(3))).json()["digit"] == 3
    digits.assert_called_once_with(model="digits", image=image)


@pytest.mark.parametrize(("path", "status"), [("/v2/digits", 404), (f"/v1/versions/{1 << 63}/digits", 400)])
async def test_a_path_that_does_not_exist_is_an_error_in_json(digits, service, path, status):
    reply = await service.post(path, json=picture(3))
    assert reply.status_code == status
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]
    assert digits.calls == []


async def test_a_wrong_method_says_which_is_right(service):
    reply = await service.get("/v1/digits")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert reply.json()["error"]["code"] == "method_not_allowed"
