"""Timers of the load generator's event loop."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tfs_client.cli.bench.precise_loop import new_loop


@pytest.fixture
def loop():
    loop = new_loop()
    yield loop
    loop.close()


async def lateness(seconds):
    loop = asyncio.get_running_loop()
    fired = loop.create_future()
    due = loop.time() + seconds
    loop.call_at(due, lambda: fired.set_result(loop.time()))
    return await fired - due


@pytest.mark.skipif(sys.platform != "linux", reason="the selector is for epoll")
@pytest.mark.parametrize("seconds", [0.0003, 0.0043])
def test_timers_fire_within_a_part_of_a_millisecond(loop, seconds):
    """The best of some: how late the others are depends on what else runs."""
    late = [loop.run_until_complete(lateness(seconds)) for _ in range(10)]
    assert -1e-6 <= min(late) < 0.0004


def test_what_arrives_ends_a_wait(loop):
    async def woken():
        waits = loop.create_future()
        loop.call_later(5.0, waits.cancel)
        loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(waits.set_result, 3))
        return await waits

    assert loop.run_until_complete(woken()) == 3
