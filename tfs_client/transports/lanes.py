"""Lanes: for each of the calls that run at the same time an httpx client of its own, and so a connection.

A pool of httpcore looks at all its connections twice in every call, under one lock, and asks the system about each that
is idle, which lets go of the interpreter's lock. With 64 threads on one pool that is most of what a call costs, and the
threads stand in line for it. A pool of one connection has nothing to look at.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from tfs_client.transports.http_client import AsyncClient, Client


class Lanes:
    """Clients that are taken for a call and given back, the last one first. Of use to any number of threads.

    Args:
        opened: opens a client.
        expiry: seconds after which a client that nobody takes is closed.
        clock: tells seconds.
    """

    def __init__(
        self, opened: Callable[[], Client], expiry: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._expiry = expiry
        self._clock = clock
        self._spare: deque[tuple[float, Client]] = deque()  # its methods are atomic
        self._closed = False
        self._give_back(opened())  # what is wrong with the options is said now

    @contextmanager
    def taken(self) -> Iterator[Client]:
        """A client that nobody else uses until the block ends."""
        try:
            _, client = self._spare.pop()
        except IndexError:
            client = self._opened()
        try:
            yield client
        finally:
            self._give_back(client)

    def _give_back(self, client: Client) -> None:
        self._spare.append((self._clock(), client))
        if self._closed:
            self._drain()
        with suppress(IndexError):  # others may take what is looked at here
            if self._long_ago(self._spare[0]):
                self._close_oldest()

    def _close_oldest(self) -> None:
        oldest = self._spare.popleft()
        if self._long_ago(oldest):
            oldest[1].close()
        else:  # another one than before
            self._spare.appendleft(oldest)

    def _long_ago(self, spare: tuple[float, Client]) -> bool:
        return spare[0] < self._clock() - self._expiry

    def close(self) -> None:
        """Close all of them; those that are in use when they are given back. May be called again."""
        self._closed = True
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                _, client = self._spare.pop()
            except IndexError:
                return
            client.close()


class AsyncLanes:
    """The same for the tasks of one event loop. Closing it also breaks off what is under way."""

    def __init__(
        self, opened: Callable[[], AsyncClient], expiry: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._expiry = expiry
        self._clock = clock
        first = opened()  # what is wrong with the options is said now
        self._all = {first}
        self._spare = deque([(clock(), first)])

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[AsyncClient]:
        """A client that no other task uses until the block ends."""
        client = self._spare.pop()[1] if self._spare else self._opened()
        self._all.add(client)
        try:
            yield client
        finally:
            self._spare.append((self._clock(), client))
        await self._close_idle()

    async def _close_idle(self) -> None:
        if self._spare and self._spare[0][0] < self._clock() - self._expiry:
            _, client = self._spare.popleft()
            self._all.discard(client)
            await client.aclose()

    async def aclose(self) -> None:
        """Close all of them. May be called again."""
        clients, self._all = self._all, set()
        for client in clients:
            await client.aclose()
