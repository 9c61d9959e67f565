"""Awaited calls over gRPC. Messages stay bytes, as in the blocking transport."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from tfs_client import daemons
from tfs_client.errors import ClosedError, ConfigError, DeadlineExceededError, TFServingError
from tfs_client.inflating import COMPRESSED
from tfs_client.options import UNSET, Connection, Deadline
from tfs_client.steps import Send
from tfs_client.transports.grpc_channel import COMPRESSIONS, NO_COMPRESSION, arguments, credentials
from tfs_client.transports.grpc_errors import GrpcErrors
from tfs_client.transports.grpc_messages import BYTES, Message, is_plain, messages
from tfs_client.transports.grpc_outcomes import outcome
from tfs_client.transports.grpc_replies import GrpcReplies
from tfs_client.transports.grpc_way import GrpcWay
from tfs_client.transports.lifelines import PerLoop
from tfs_client.transports.memory import RequestMemory
from tfs_client.transports.replicas import Replicas

_CONNECTING = (grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
LEAVE = 3600.0  # seconds that calls on a channel that has been replaced may take to end


class GrpcAioTransport:
    """A channel to one target, or to several that are replicas; every event loop has its own."""

    def __init__(self, connection: Connection) -> None:
        _check_interceptors(connection.interceptors)
        self._connection = connection
        self._arguments = arguments(connection)
        self._way = GrpcWay(connection)
        self._errors = GrpcErrors(connection, self._arguments)
        self._replies = GrpcReplies(connection, self._errors)
        self._closed = False
        self._links: PerLoop[_Link] = PerLoop(lambda: _Link(connection, self._arguments, self._way), _Link.close)
        self._memory = RequestMemory()
        self.join = self._memory.join
        self.give_back = self._memory.give_back

    async def call(self, send: Send) -> bytes:
        """Send a request and await its reply. Cancelling the task cancels the call. Raises CallError or ClosedError."""
        address, body, deadline, metadata, compression, wait_for_ready = send
        plain = False
        try:
            if self._closed:
                raise self._errors.closed()
            link = await self._links.get()
            method, plain = await self._method(link, address, deadline)
            down = link.down
            reply: Any = await method(
                body if plain else Message(body),
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
        except grpc.RpcError as error:
            raise self._translated(error, send, link, down) from error
        except Exception as error:
            self._errors.check_misuse(error, address, plain=plain, closed=self._closed)
            raise
        except asyncio.CancelledError:
            if self._closed and not _cancelling():  # closing the channel cancels its calls, not their tasks
                raise self._errors.closed(address.rpartition("/")[2]) from None
            raise
        finally:
            self._memory.give_back(body)
        link.down = False
        if not isinstance(reply, bytes):
            raise self._errors.no_message(reply, address)
        if reply[:1] in COMPRESSED:
            return await self._replies.plain_aio(reply, send)
        return reply

    async def close(self) -> None:
        """Cancel what is under way and release the connections. May be called again."""
        self._closed = True
        self._memory.close()
        await self._links.close()

    async def _method(self, link: _Link, path: str, deadline: Deadline) -> tuple[Any, bool]:
        if not link.methods and not await link.found(deadline):
            raise self._errors.closed() if self._closed else self._errors.nameless(path, deadline)
        method = link.methods.get(path)
        if method is None:
            if link.replicas.due():
                link.look()
            kind = BYTES if link.plain else messages(self._replies.message_aio)
            method = link.methods[path] = link.channel.unary_unary(path, **kind)
        elif link.replicas.due():
            link.look()
        return method, link.plain

    def _translated(self, error: Any, send: Send, link: _Link, down: bool) -> TFServingError:
        """Our error; ``down`` says whether there was no connection before the call. See the blocking transport."""
        code, details, trailing = outcome(error)
        made = self._errors.made_of(code, details, send.address, send.deadline, trailing, closed=self._closed)
        if self._errors.lost(made):
            link.down = True
        elif isinstance(made, DeadlineExceededError) and down and link.down and link.channel.get_state() in _CONNECTING:
            self._errors.unsent(made, send.deadline)
        return made


class _Link:
    """A channel in one event loop, and what was made of it; a look at the replicas' names replaces both."""

    def __init__(self, connection: Connection, arguments: dict[str, Any], way: GrpcWay) -> None:
        if _forks.spoilt:
            raise ClosedError(
                "gRPC's asyncio API cannot be used in this process, which was forked while that API was in use: "
                "start processes with 'spawn' or 'forkserver', close every AsyncPredictClient before the fork, or use "
                "REST"
            )
        self._connection = connection
        self._arguments = arguments
        self._way = way
        self.plain = True  # whether nobody is between gRPC's channel and its callers
        self._leaving: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.replicas = Replicas(connection.target.addresses)
        self.down = True  # whether there was no connection when a call ended last
        self.channel: Any = None
        self.methods: dict[str, Any] = {}
        if self.replicas.address:
            self.channel = self._open()

    async def found(self, deadline: Deadline) -> bool:
        """Whether there is a channel; names are waited for until the deadline."""
        if self.channel is None:
            if self._looking is None and self.replicas.due():
                self.look()
            if self._looking is not None:
                await asyncio.wait([self._looking], timeout=deadline.remaining())
        return self.channel is not None

    def look(self) -> None:
        """Begin to resolve the replicas' names. Calls under way keep the old channel, which is closed after them."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        if await daemons.awaited(self.replicas.moved, "tfs-client-resolve"):
            old, self.channel, self.methods = self.channel, self._open(), {}
            self.down = True
            if old is not None:
                task = asyncio.get_running_loop().create_task(old.close(LEAVE))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Cancel what is under way and release the connection."""
        tasks = [*self._leaving, *filter(None, [self._looking])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.channel is not None:
            await self.channel.close()

    def _open(self) -> Any:
        """A channel. Arguments go by keyword, for others wrap these functions and add interceptors of their own."""
        target, options = self._way.to(self.replicas.address, self._arguments)
        compression = COMPRESSIONS[self._connection.compression]
        interceptors = list(self._connection.interceptors)
        tls = self._connection.tls
        if tls is None:
            channel = grpc.aio.insecure_channel(
                target, options=options, compression=compression, interceptors=interceptors
            )
        else:
            channel = grpc.aio.secure_channel(
                target, credentials(tls), options=options, compression=compression, interceptors=interceptors
            )
        self.plain = is_plain(channel)
        return channel


def _check_interceptors(interceptors: Sequence[Any]) -> None:
    for one in interceptors:
        if not isinstance(one, grpc.aio.ClientInterceptor):
            raise ConfigError(
                f"expected interceptors of grpc.aio, such as grpc.aio.UnaryUnaryClientInterceptor, got {one!r}; "
                "OpenTelemetry has aio_client_interceptors() for them"
            )


class _Forks:
    """Notices forks that gRPC's asyncio side does not survive.

    All its channels share one queue of answers, which a thread reads as long as there are channels. A fork leaves the
    child with the queue and without the thread: there calls hang beyond their deadlines, or the process crashes.

    Attributes:
        spoilt: whether there was such a fork between this process and the one that it comes from.
    """

    def __init__(self) -> None:
        self.spoilt = False
        self._in_use = False

    def before(self) -> None:
        """In the parent, before a fork."""
        self._in_use = any("_poll_wrapper" in thread.name for thread in threading.enumerate())  # grpc has no other sign

    def in_child(self) -> None:
        """In the child, after it."""
        self.spoilt = self.spoilt or self._in_use


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_child=_forks.in_child)


def _cancelling() -> bool:
    """Whether somebody cancelled the running task. Before Python 3.11 nobody can tell."""
    task = asyncio.current_task()
    return task is not None and hasattr(task, "cancelling") and task.cancelling() > 0
