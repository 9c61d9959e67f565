"""Lanes: clients that are taken for a call and given back."""

from __future__ import annotations

import asyncio

import pytest

from tfs_client.transports.lanes import AsyncLanes, Lanes


class Client:
    """Something that can be closed, once."""

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1

    async def aclose(self):
        self.closed += 1


class Opened:
    """Opens clients and remembers them."""

    def __init__(self):
        self.clients = []
        self.now = 0.0

    def __call__(self):
        self.clients.append(Client())
        return self.clients[-1]

    def clock(self):
        return self.now


@pytest.fixture
def opened():
    return Opened()


def test_calls_one_after_the_other_use_one_client(opened):
    lanes = Lanes(opened, 30, opened.clock)
    taken = []
    for _ in range(3):
        with lanes.taken() as client:
            taken.append(client)
    assert set(taken) == {opened.clients[0]}
    assert len(opened.clients) == 1


def test_calls_at_the_same_time_have_a_client_each_and_the_last_given_back_goes_first(opened):
    lanes = Lanes(opened, 30, opened.clock)
    with lanes.taken() as first, lanes.taken() as second:
        assert first is not second
    with lanes.taken() as again:
        assert again is first  # given back last
    assert len(opened.clients) == 2


def test_a_client_that_nobody_takes_for_long_is_closed(opened):
    lanes = Lanes(opened, 30, opened.clock)
    with lanes.taken(), lanes.taken():
        pass
    idle = lanes._spare[0][1]
    for opened.now in (10.0, 20.0, 30.5, 31.0):
        with lanes.taken():
            pass
    assert [client.closed for client in opened.clients if client is idle] == [1]
    assert sum(client.closed for client in opened.clients) == 1


def test_closing_closes_those_in_use_when_they_come_back(opened):
    lanes = Lanes(opened, 30, opened.clock)
    with lanes.taken() as busy, lanes.taken():
        pass
    with lanes.taken() as busy:
        lanes.close()
        lanes.close()
        assert not busy.closed
    assert [client.closed for client in opened.clients] == [1, 1]


def test_a_client_comes_back_whatever_happens(opened):
    lanes = Lanes(opened, 30, opened.clock)
    with pytest.raises(ValueError, match="a call failed"), lanes.taken():
        raise ValueError("a call failed")
    with lanes.taken():
        pass
    assert len(opened.clients) == 1


def test_tasks_share_clients_in_the_same_way(opened):
    async def main():
        lanes = AsyncLanes(opened, 30, opened.clock)
        async with lanes.taken() as first, lanes.taken() as second:
            assert first is not second
        for opened.now in (10.0, 20.0, 30.5, 31.0):
            async with lanes.taken():
                pass
        assert sum(client.closed for client in opened.clients) == 1
        async with lanes.taken() as busy:
            await lanes.aclose()
            assert busy.closed == 1  # what is under way is broken off
        await lanes.aclose()

    asyncio.run(main())
    assert [client.closed for client in opened.clients] == [1, 1]
