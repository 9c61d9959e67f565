"""TLS handshakes of asyncio clients: a cancelled handshake closes its connection.

A call is cancelled at its deadline. httpcore closes a connection whose handshake fails, but not one whose handshake is
cancelled. Nothing refers to it then: the socket would stay open until it is garbage-collected.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from tfs_client._transports.http_client import AsyncClient, pools


def closing(client: AsyncClient) -> AsyncClient:
    """Return the client, whose connections are closed when their handshake is cancelled."""
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
        return _Stream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection before its handshake."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise
        return _Stream(secured)  # through a proxy there may be a second handshake

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
