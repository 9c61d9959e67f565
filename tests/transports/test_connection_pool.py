"""ConnectionPool: clients are borrowed for a call and returned."""

from __future__ import annotations

import asyncio

import pytest

from tfs_client._transports.connection_pool import AsyncConnectionPool, ConnectionPool


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
    pool = ConnectionPool(opened, 30, opened.clock)
    taken = []
    for _ in range(3):
        with pool.acquire() as client:
            taken.append(client)
    assert set(taken) == {opened.clients[0]}
    assert len(opened.clients) == 1


def test_concurrent_calls_use_separate_clients_and_the_last_returned_is_used_first(opened):
    pool = ConnectionPool(opened, 30, opened.clock)
    with pool.acquire() as first, pool.acquire() as second:
        assert first is not second
    with pool.acquire() as again:
        assert again is first  # given back last
    assert len(opened.clients) == 2


def test_a_client_idle_for_long_is_closed(opened):
    pool = ConnectionPool(opened, 30, opened.clock)
    with pool.acquire(), pool.acquire():
        pass
    idle = pool._spare[0][1]
    for opened.now in (10.0, 20.0, 30.5, 31.0):
        with pool.acquire():
            pass
    assert [client.closed for client in opened.clients if client is idle] == [1]
    assert sum(client.closed for client in opened.clients) == 1


def test_closing_closes_clients_in_use_when_they_are_returned(opened):
    pool = ConnectionPool(opened, 30, opened.clock)
    with pool.acquire() as busy, pool.acquire():
        pass
    with pool.acquire() as busy:
        pool.close()
        pool.close()
        assert not busy.closed
    assert [client.closed for client in opened.clients] == [1, 1]


def test_a_client_is_returned_even_if_the_call_fails(opened):
    pool = ConnectionPool(opened, 30, opened.clock)
    with pytest.raises(ValueError, match="a call failed"), pool.acquire():
        raise ValueError("a call failed")
    with pool.acquire():
        pass
    assert len(opened.clients) == 1


def test_tasks_share_clients_in_the_same_way(opened):
    async def main():
        pool = AsyncConnectionPool(opened, 30, opened.clock)
        async with pool.acquire() as first, pool.acquire() as second:
            assert first is not second
        for opened.now in (10.0, 20.0, 30.5, 31.0):
            async with pool.acquire():
                pass
        assert sum(client.closed for client in opened.clients) == 1
        async with pool.acquire() as busy:
            await pool.aclose()
            assert busy.closed == 1  # what is under way is broken off
        await pool.aclose()

    asyncio.run(main())
    assert [client.closed for client in opened.clients] == [1, 1]
