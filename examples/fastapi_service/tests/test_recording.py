"""Answers of the real model, from a recording that ``python tests/record.py localhost:8500`` has made."""

from __future__ import annotations

import pytest
from digit_models import picture
from pictures import DRAWN, drawn
from record import FILE

pytestmark = [pytest.mark.anyio, pytest.mark.fake_server(recording=FILE, strict=True)]


async def test_the_real_model_reads_handwriting(fake_target, start_service):
    """Recorded over gRPC, replayed over gRPC and REST. Strict: a recorded picture that is not sent fails the test."""
    service = await start_service(fake_target)
    for digit in DRAWN:
        reply = await service.post("/v1/digits", json={"pixels": drawn(digit)})
        assert reply.json()["digit"] == digit
        assert reply.json()["probability"] > 0.9


@pytest.mark.fake_server(strict=False)
async def test_a_picture_that_was_not_recorded_has_no_answer(fake_server, start_service):
    service = await start_service(fake_server.target)
    assert (await service.post("/v1/digits", json=picture(3))).status_code == 502
    with pytest.raises(AssertionError, match="calls that no recording has"):
        fake_server.check()
