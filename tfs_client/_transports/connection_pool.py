"""ConnectionPool: one httpx client, and so one connection, for each concurrent call.

A pool of httpcore examines all its connections twice in every call, under one lock, and for each idle one asks the
system, which releases the GIL. With 64 threads on one pool, that is most of the cost of a call, and the threads queue
for the lock. A pool of a single connection has nothing to examine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from tfs_client._transports.http_client import AsyncClient, Client


class ConnectionPool:
    """Blocking clients, each used by one call at a time. May be used from any thread.

    Args:
        opened: opens a client.
        expiry: seconds after which an idle client is closed.
        clock: returns the time in seconds.
    """

    # No lock: threads would queue for it. ``append``, ``pop`` and ``popleft`` of a deque are atomic, so a client is
    # never handed to two calls. The most recently used client is reused first, so that surplus ones become idle and
    # expire; the deque is therefore ordered by age, and each call closes at most one expired client, the oldest.
    # Between looking at the oldest and removing it, another thread may have removed it: the one that was removed is
    # checked again. ``close`` may run while a call holds a client; the call then closes it when it is done.

    def __init__(
        self, opened: Callable[[], Client], expiry: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._expiry = expiry
        self._clock = clock
        self._spare: deque[tuple[float, Client]] = deque()  # its methods are atomic
        self._closed = False
        self._give_back(opened())  # raises for invalid options now

    @contextmanager
    def acquire(self) -> Iterator[Client]:
        """A client for exclusive use until the block ends."""
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
        with suppress(IndexError):  # another thread may remove it meanwhile
            if self._long_ago(self._spare[0]):
                self._close_oldest()

    def _close_oldest(self) -> None:
        oldest = self._spare.popleft()
        if self._long_ago(oldest):
            oldest[1].close()
        else:  # not the one that was looked at
            self._spare.appendleft(oldest)

    def _long_ago(self, spare: tuple[float, Client]) -> bool:
        return spare[0] < self._clock() - self._expiry

    def close(self) -> None:
        """Close all clients; those in use are closed when their calls end. May be called again."""
        self._closed = True
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                _, client = self._spare.pop()
            except IndexError:
                return
            client.close()


class AsyncConnectionPool:
    """The asyncio version, for the tasks of one event loop. Closing it also interrupts running calls."""

    def __init__(
        self, opened: Callable[[], AsyncClient], expiry: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._expiry = expiry
        self._clock = clock
        first = opened()  # raises for invalid options now
        self._all = {first}
        self._spare = deque([(clock(), first)])

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[AsyncClient]:
        """A client for exclusive use until the block ends."""
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
        """Close all clients. May be called again."""
        clients, self._all = self._all, set()
        for client in clients:
            await client.aclose()
