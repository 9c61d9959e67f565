"""New versions of the model: the service follows them without a restart."""

from __future__ import annotations

import asyncio

import pytest
from digit_models import add_digits, always_seven, picture

from tfs_client.testing import faults

pytestmark = pytest.mark.anyio


async def test_a_new_version_answers_as_soon_as_it_is_served(digits, service):
    assert (await service.post("/v1/digits", json=picture(3))).json()["version"] == 1
    add_digits(digits, always_seven, version=2)
    reply = await service.post("/v1/digits", json=picture(3))
    assert (reply.json()["version"], reply.json()["digit"]) == (2, 7)


async def test_no_request_fails_during_a_roll_over(digits, service):
    rolled_over = asyncio.Event()
    replies = []

    async def call_until_rolled_over():
        while not rolled_over.is_set():
            replies.append(await service.post("/v1/digits", json=picture(3)))
        replies.append(await service.post("/v1/digits", json=picture(3)))

    callers = [asyncio.create_task(call_until_rolled_over()) for _ in range(4)]
    while not replies:
        await asyncio.sleep(0)
    await asyncio.to_thread(add_digits, digits, always_seven, 2)
    await asyncio.to_thread(digits.remove_model, "digits", 1)
    rolled_over.set()
    await asyncio.gather(*callers)
    assert {reply.status_code for reply in replies} == {200}
    assert [reply.json()["version"] for reply in replies[-4:]] == [2] * 4


async def test_a_version_that_vanishes_leaves_its_call_to_the_one_before(digits, service):
    add_digits(digits, always_seven, version=2)
    digits.faults.add(faults.VersionVanishes(), times=1)
    reply = await service.post("/v1/digits", json=picture(3))
    assert (reply.json()["version"], reply.json()["digit"]) == (1, 3)


async def test_a_version_that_is_not_served_is_not_found(digits, service):
    add_digits(digits, always_seven, version=2)
    assert (await service.post("/v1/versions/1/digits", json=picture(3))).json()["digit"] == 3
    digits.remove_model("digits", 1)
    reply = await service.post("/v1/versions/1/digits", json=picture(3))
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "unknown_version"
    assert reply.json()["error"]["message"] == "version 1 is not served"


@pytest.mark.parametrize("text", ["2.0", "+2", "02"])
async def test_a_version_that_is_written_in_another_way_is_not_found_either(digits, service, text):
    reply = await service.post(f"/v1/versions/{text}/digits", json=picture(3))
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == "version 2 is not served"


async def test_a_version_with_more_digits_than_python_reads_is_the_callers_fault(digits, service):
    reply = await service.post(f"/v1/versions/{'9' * 5000}/digits", json=picture(3))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_input"
