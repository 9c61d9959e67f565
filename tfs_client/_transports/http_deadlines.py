"""HttpDeadlines: blocking HTTP calls that end at their deadline.

httpx limits each wait for the network, but not their sum: a server that sends a byte now and then never times out. So
the connections know the deadline of the running call, and each wait is limited to the remaining time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

import httpcore

from tfs_client._transports.deadline import Deadline
from tfs_client._transports.host_names import addresses, is_address, looked_up
from tfs_client._transports.http_client import Client, pools

PIECE = 1 << 18  # bytes written under one limit; httpcore restarts it for each part that the system accepts


class HttpDeadlines:
    """Applies the deadlines of calls to their connections. Each thread runs one call at a time."""

    def __init__(self) -> None:
        self._calls = threading.local()
        self._streams: WeakSet[_Stream] = WeakSet()
        self._closed = False

    def applied_to(self, client: Client) -> Client:
        """Return the client, whose future connections end at the deadlines of their calls."""
        for pool in pools(client):
            pool._network_backend = Backend(pool._network_backend, self)
        return client

    @contextlib.contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """Limit this thread's use of the client to a deadline."""
        self._calls.deadline = deadline
        try:
            yield
        finally:
            self._calls.deadline = None

    def opened(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """Wrap a new connection, and keep track of it."""
        own = _Stream(stream, self)
        self._streams.add(own)
        return own

    def interrupt(self) -> None:
        """End every wait for the network now; running calls fail."""
        self._closed = True
        for stream in list(self._streams):
            stream.interrupt()

    def abandon(self) -> None:
        """In a forked process: leave the connections to the parent."""
        for stream in list(self._streams):
            stream.abandon()

    def remaining(self, late: type[Exception], timeout: float | None) -> float | None:
        """Seconds that a wait may take; ``timeout`` outside of calls. Raises ``late`` after the deadline."""
        if self._closed:
            raise late("the client was closed")
        deadline: Deadline | None = getattr(self._calls, "deadline", None)
        if deadline is None:
            return timeout
        if deadline.passed():
            raise late("the call's deadline has passed")
        return deadline.remaining()


class Backend(httpcore.NetworkBackend):
    """Makes connections that end at the deadlines of their calls."""

    def __init__(
        self,
        backend: httpcore.NetworkBackend,
        deadlines: HttpDeadlines,
        resolve: Callable[[str, int], Sequence[str]] = addresses,
    ) -> None:
        self._backend = backend
        self._deadlines = deadlines
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try one address after the other. Each gets a share of the time, so that a dead one does not use it up."""
        left = partial(self._deadlines.remaining, httpcore.ConnectTimeout, timeout)
        found = [host] if is_address(host) else looked_up(partial(self._resolve, host, port), left)
        for untried in range(len(found), 0, -1):
            seconds = left()
            share = None if seconds is None else seconds / untried
            try:
                stream = self._backend.connect_tcp(found[-untried], port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if untried == 1:
                    raise
            else:
                return self._deadlines.opened(stream)
        raise httpcore.ConnectError(f"{host} has no address")


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadlines: HttpDeadlines) -> None:
        self._stream = stream
        self._deadlines = deadlines

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadlines.remaining(httpcore.ReadTimeout, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            piece = buffer if len(buffer) <= PIECE else buffer[start : start + PIECE]
            self._stream.write(piece, self._deadlines.remaining(httpcore.WriteTimeout, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            left = self._deadlines.remaining(httpcore.ConnectTimeout, timeout)
        except httpcore.ConnectTimeout:
            self.close()  # as a failed handshake would; nothing else refers to the connection
            raise
        return self._deadlines.opened(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def interrupt(self) -> None:
        connected = self.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):  # it is closed already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # also under TLS: without its closing handshake

    def abandon(self) -> None:
        connected = self.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):
                os.close(connected.detach())
