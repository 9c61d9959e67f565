"""within: results, errors, the time limit, and a cancellation that is never lost."""

from __future__ import annotations

import asyncio

import pytest

from tfs_client._transports.within import within


def run(main):
    return asyncio.run(main())


def test_a_result_in_time_is_returned():
    async def answer():
        await asyncio.sleep(0)
        return 7

    assert run(lambda: within(answer(), 5)) == 7
    assert run(lambda: within(answer(), None)) == 7


def test_it_raises_what_the_awaitable_raises():
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(lambda: within(fail(), 5))


def test_a_late_awaitable_is_cancelled_and_has_ended():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        run(lambda: within(slow(), 0.01))
    assert ended


def test_cancelling_the_task_cancels_what_it_waits_for():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def main():
        task = asyncio.ensure_future(within(slow(), 30))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    run(main)


def test_a_task_cancelled_as_the_result_arrives_is_cancelled():
    async def main():
        answer = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(within(answer, 30))
        await asyncio.sleep(0)
        answer.set_result(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
