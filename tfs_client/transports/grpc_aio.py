"""Awaited calls over gRPC. Messages stay bytes, as in the blocking transport."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from tfs_client.errors import StatusCode, TFServingError
from tfs_client.options import UNSET, Connection
from tfs_client.steps import Send
from tfs_client.transports.grpc_channel import COMPRESSIONS, NO_COMPRESSION, arguments, credentials
from tfs_client.transports.grpc_errors import GrpcErrors
from tfs_client.transports.lifelines import Lifeline, lifeline
from tfs_client.transports.memory import RequestMemory
from tfs_client.transports.replicas import Replicas

LEAVE = 3600.0  # seconds that calls on a channel that has been replaced may take to end


class GrpcAioTransport:
    """A channel to one target, or to several that are replicas, made in the loop of the first call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._arguments = arguments(connection)
        self._errors = GrpcErrors(connection, self._arguments)
        self._replicas: Replicas | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Any = None
        self._lifeline: Lifeline | None = None
        self._closed = False
        self._methods: dict[str, Any] = {}
        self._memory = RequestMemory()
        self.join = self._memory.join

    async def call(self, send: Send) -> bytes:
        """Send a request and await its reply. Cancelling the task cancels the call. Raises CallError or ClosedError."""
        if self._closed:
            raise self._errors.closed()
        address, body, deadline, metadata, compression, wait_for_ready = send
        if self._loop is not asyncio.get_running_loop():
            await self._connect()
        elif self._replicas is not None and self._replicas.due():
            await self._look_again(self._replicas)
        method = self._methods.get(address)
        if method is None:
            method = self._methods[address] = self._channel.unary_unary(address)
        try:
            reply: bytes = await method(
                body,
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
        except grpc.aio.AioRpcError as error:
            raise self._translated(error, send) from error
        except (grpc.aio.BaseError, ValueError) as error:
            raise (self._errors.closed() if self._closed else TFServingError(str(error))) from error
        except asyncio.CancelledError:
            if self._closed and not _cancelling():  # closing the channel cancels its calls, not their tasks
                raise self._errors.closed(address.rpartition("/")[2]) from None
            raise
        finally:
            self._memory.give_back(body)
        return reply

    async def close(self) -> None:
        """Cancel what is under way and release the connection. May be called again."""
        self._closed = True
        line, self._lifeline = self._lifeline, None
        self._memory.close()
        if line is not None and self._loop is asyncio.get_running_loop():
            await line.aclose()

    async def _connect(self) -> None:
        """A channel belongs to the loop it is made in; another loop gets another channel."""
        loop = asyncio.get_running_loop()
        addresses = self._connection.target.addresses
        replicas = await loop.run_in_executor(None, Replicas, addresses) if len(addresses) > 1 else Replicas(addresses)
        if self._loop is not loop:  # no other task was quicker
            self._loop, self._replicas = loop, replicas
            self._open(replicas.address)
            self._lifeline = await lifeline(lambda: self._channel.close())

    async def _look_again(self, replicas: Replicas) -> None:
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, replicas.moved) and not self._closed:
            old = self._channel
            self._open(replicas.address)
            self._leaving = loop.create_task(old.close(LEAVE))

    def _open(self, address: str) -> None:
        options = list(self._arguments.items())
        compression = COMPRESSIONS[self._connection.compression]
        interceptors = list(self._connection.interceptors)
        tls = self._connection.tls
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, options, compression, interceptors)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials(tls), options, compression, interceptors)
        self._methods = {}

    def _translated(self, error: Any, send: Send) -> TFServingError:
        code = StatusCode(error.code().value[0])
        trailing = error.trailing_metadata()
        return self._errors.made_of(code, error.details(), send.address, send.deadline, trailing, closed=self._closed)


def _cancelling() -> bool:
    """Whether somebody cancelled the running task. Before Python 3.11 nobody can tell."""
    task = asyncio.current_task()
    return task is not None and hasattr(task, "cancelling") and task.cancelling() > 0
