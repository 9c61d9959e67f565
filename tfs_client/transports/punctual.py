"""Blocking HTTP calls that end on time.

httpx limits each wait for the network, but not their sum: a server that sends a byte now and then is never late. So
the connections are told the deadline of the call, and each wait gets what remains of it.
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

from tfs_client.options import Deadline
from tfs_client.transports.host_names import addresses, is_address, looked_up
from tfs_client.transports.http_client import Client, pools

PIECE = 1 << 18  # bytes that are written under one limit; httpcore grants it anew for each part the system accepts


class Punctual:
    """Keeps the deadlines of calls; each thread has a call of its own."""

    def __init__(self) -> None:
        self._calls = threading.local()
        self._streams: WeakSet[_Stream] = WeakSet()
        self._closed = False

    def watched(self, client: Client) -> Client:
        """The client, whose connections will keep deadlines."""
        for pool in pools(client):
            pool._network_backend = Backend(pool._network_backend, self)
        return client

    @contextlib.contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """What this thread does with the client ends at the deadline."""
        self._calls.deadline = deadline
        try:
            yield
        finally:
            self._calls.deadline = None

    def opened(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """A connection that keeps deadlines, and that is taken note of."""
        own = _Stream(stream, self)
        self._streams.add(own)
        return own

    def break_off(self) -> None:
        """End every wait for the network now; the calls fail."""
        self._closed = True
        for stream in list(self._streams):
            stream.break_off()

    def let_go(self) -> None:
        """In a forked process: give up the connections, which stay the parent's."""
        for stream in list(self._streams):
            stream.let_go()

    def left(self, late: type[Exception], timeout: float | None) -> float | None:
        """Seconds that a wait may take; ``timeout`` where there is no call. Raises ``late`` when there are none."""
        if self._closed:
            raise late("the client was closed")
        deadline: Deadline | None = getattr(self._calls, "deadline", None)
        if deadline is None:
            return timeout
        if deadline.passed():
            raise late("the call's time is over")
        return deadline.remaining()


class Backend(httpcore.NetworkBackend):
    """Makes connections that keep deadlines."""

    def __init__(
        self,
        backend: httpcore.NetworkBackend,
        punctual: Punctual,
        resolve: Callable[[str, int], Sequence[str]] = addresses,
    ) -> None:
        self._backend = backend
        self._punctual = punctual
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try one address after the other; each gets its share of the time, so that a dead one does not take it all."""
        left = partial(self._punctual.left, httpcore.ConnectTimeout, timeout)
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
                return self._punctual.opened(stream)
        raise httpcore.ConnectError(f"{host} has no address")


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, punctual: Punctual) -> None:
        self._stream = stream
        self._punctual = punctual

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._punctual.left(httpcore.ReadTimeout, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            piece = buffer if len(buffer) <= PIECE else buffer[start : start + PIECE]
            self._stream.write(piece, self._punctual.left(httpcore.WriteTimeout, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            left = self._punctual.left(httpcore.ConnectTimeout, timeout)
        except httpcore.ConnectTimeout:
            self.close()  # as the handshake itself would; nobody else has the connection
            raise
        return self._punctual.opened(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def break_off(self) -> None:
        connected = self.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):  # it is over already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # also of TLS: there is no time for farewells

    def let_go(self) -> None:
        connected = self.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):
                os.close(connected.detach())
