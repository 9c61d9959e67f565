"""Host names, resolved in separate threads.

``getaddrinfo`` has no deadline and cannot be interrupted: not by Ctrl-C in the thread that called it, and not by the
end of an event loop, which waits for the threads of its executor. If the name server does not respond, it takes half a
minute.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import httpcore

from tfs_client._transports import daemon_threads
from tfs_client._transports.http_client import AsyncClient, pools

SLICE = 0.2  # seconds; a signal that arrives just before a wait for a lock does not end that wait
HEAD_START = 0.25  # seconds until the next address of a host is tried, too (https://www.rfc-editor.org/rfc/rfc8305)


def addresses(host: str, port: int) -> list[str]:
    """The IP addresses of a host. Raises httpcore.ConnectError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def looked_up(look: Callable[[], Sequence[str]], left: Callable[[], float | None]) -> Sequence[str]:
    """Run ``look`` in a thread. ``left`` returns the remaining seconds, or raises; it is called repeatedly."""
    outcome: list[Sequence[str] | BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(look())
        except BaseException as error:
            outcome.append(error)
        done.set()

    if daemon_threads.start(run, "tfs-client-resolve") is None:
        return look()
    while not done.is_set():
        seconds = left()
        done.wait(SLICE if seconds is None else min(SLICE, seconds))
    (found,) = outcome
    if isinstance(found, BaseException):
        raise found
    return found


def is_address(host: str) -> bool:
    """Whether a host is an IP address, which needs no look-up."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def resolving(client: AsyncClient) -> AsyncClient:
    """Return the client, whose connections resolve names here instead of in the loop's executor."""
    for pool in pools(client):
        pool._network_backend = _Backend(pool._network_backend)
    return client


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        def connect(address: str) -> Any:
            return self._backend.connect_tcp(address, port, timeout, local_address, socket_options)

        stream: httpcore.AsyncNetworkStream
        if is_address(host):
            stream = await connect(host)
            return stream
        found = await daemon_threads.run_in_thread(partial(addresses, host, port), "tfs-client-resolve")
        stream = await first_of(found, connect)
        return stream


async def first_of(found: Sequence[str], connect: Callable[[str], Any]) -> Any:
    """Return the first connection that can be made. Each address has a head start before the next one is tried, too.

    Raises the error of the last attempt. The other attempts are cancelled, and their connections are
    closed.
    """
    attempts: list[asyncio.Task[Any]] = []
    pending: set[asyncio.Task[Any]] = set()
    untried = list(found)
    try:
        while untried or pending:
            if untried:
                attempts.append(asyncio.ensure_future(connect(untried.pop(0))))
                pending.add(attempts[-1])
            ended, pending = await asyncio.wait(
                pending, timeout=HEAD_START if untried else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in ended:
                if attempt.exception() is None:
                    attempts.remove(attempt)
                    return attempt.result()
        raise attempts[-1].exception() or AssertionError  # no connection was made, so the last attempt failed, too
    finally:
        await _given_up(attempts)


async def _given_up(attempts: Sequence[asyncio.Task[Any]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            with suppress(Exception):
                await outcome.aclose()
