"""The asyncio version of ``grpc``. Messages stay bytes, as in the blocking transport."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from tfs_client._codec.inflating import COMPRESSED
from tfs_client._codec.request_memory import held, owners
from tfs_client._transports import daemon_threads
from tfs_client._transports.connection import Connection
from tfs_client._transports.connection_log import ConnectionLog
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.grpc_channel import COMPRESSIONS, NO_COMPRESSION, arguments, credentials
from tfs_client._transports.grpc_errors import GrpcErrors
from tfs_client._transports.grpc_messages import BYTES, Message, is_plain, messages
from tfs_client._transports.grpc_metadata import metadata_of_aio
from tfs_client._transports.grpc_outcomes import outcome, with_facts
from tfs_client._transports.grpc_replies import GrpcReplies
from tfs_client._transports.grpc_route import GrpcRoute
from tfs_client._transports.per_loop import PerLoop
from tfs_client._transports.replicas import Replicas
from tfs_client._transports.reply import Reply
from tfs_client._transports.request_buffers import LARGE, RequestBuffers
from tfs_client._transports.steps import Send
from tfs_client._transports.targets import peer_of
from tfs_client.errors import ClosedError, ConfigError, DeadlineExceededError, TFServingError
from tfs_client.options import UNSET

_CONNECTING = (grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
LEAVE = 3600.0  # seconds until calls on a replaced channel are cancelled


class GrpcAioTransport:
    """A channel to one target, or to several that are replicas; every event loop has its own."""

    def __init__(self, connection: Connection) -> None:
        _check_interceptors(connection.interceptors)
        self._connection = connection
        self._arguments = arguments(connection)
        self._route = GrpcRoute(connection)
        self._errors = GrpcErrors(connection, self._arguments)
        self._replies = GrpcReplies(connection, self._errors)
        self._peer = peer_of(connection.target)
        self._closed = False
        self._channels: PerLoop[_LoopChannel] = PerLoop(
            lambda: _LoopChannel(connection, self._arguments, self._route), _LoopChannel.close
        )
        self._buffers = RequestBuffers()
        self.join = self._buffers.join
        self.give_back = self._buffers.give_back

    async def call(self, send: Send) -> Reply:
        """Send a request and await its reply. Cancelling the task cancels the call. Raises CallError or ClosedError."""
        address, body, deadline, metadata, compression, wait_for_ready = send
        plain = False
        arrays = held(body) if id(body) in owners else None  # grpc.aio reads the request in a task that begins later
        try:
            if self._closed:
                raise self._errors.closed()
            channel = self._channels.known() or await self._channels.get()
            method, plain = channel.ready.get(address), channel.plain
            if method is None:
                method, plain = await self._method(channel, address, deadline)
            down = channel.log.down
            call = method(
                body if plain else Message(body),
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
            reply: Any = await call
        except grpc.RpcError as error:
            raise self._translated(error, send, channel, down) from error
        except Exception as error:
            self._errors.check_misuse(error, address, plain=plain, closed=self._closed)
            raise
        except asyncio.CancelledError:
            if self._closed and not _cancelling():  # closing the channel cancels its calls, but not their tasks
                raise self._errors.closed(address.rpartition("/")[2]) from None
            raise
        finally:
            if len(body) >= LARGE:  # smaller ones are not reused
                self._buffers.give_back(body)
            if arrays is not None:
                arrays.release()
        if channel.log.down:
            channel.log.up()
        if not isinstance(reply, bytes):
            raise self._errors.no_message(reply, address)
        if reply[:1] in COMPRESSED:
            reply = await self._replies.plain_aio(reply, send)
        return Reply(reply, self._peer, *metadata_of_aio(call))

    async def close(self) -> None:
        """Cancel running calls and release the connections. May be called again."""
        self._closed = True
        self._buffers.close()
        await self._channels.close()

    async def _method(self, channel: _LoopChannel, path: str, deadline: Deadline) -> tuple[Any, bool]:
        if not channel.methods and not await channel.found(deadline):
            raise self._errors.closed() if self._closed else self._errors.unresolved(path, deadline)
        method = channel.methods.get(path)
        if method is None:
            if channel.replicas.due():
                channel.look()
            kind = BYTES if channel.plain else messages(self._replies.message_aio)
            method = channel.methods[path] = channel.grpc.unary_unary(path, **kind)
        elif channel.replicas.due():
            channel.look()
        if not channel.replicas.named:
            channel.ready[path] = method
        return method, channel.plain

    def _translated(self, error: Any, send: Send, channel: _LoopChannel, down: bool) -> TFServingError:
        """Translate an error of gRPC; ``down``: there was no connection before the call. See the blocking transport."""
        ended = outcome(error)
        made = self._errors.made_of(
            ended.code, ended.details, send.address, send.deadline, ended.trailing, closed=self._closed
        )
        if self._errors.lost(made):
            channel.log.lost()
        elif (
            isinstance(made, DeadlineExceededError)
            and down
            and channel.log.down
            and channel.grpc.get_state() in _CONNECTING
        ):
            self._errors.unsent(made, send.deadline)
        return with_facts(made, ended, self._peer)


class _LoopChannel:
    """The channel of one event loop, and its methods by path. Resolving the replicas' names may replace both."""

    def __init__(self, connection: Connection, arguments: dict[str, Any], route: GrpcRoute) -> None:
        if _forks.broken:
            raise ClosedError(
                "gRPC's asyncio API cannot be used in this process, which was forked while that API was in use: "
                "start processes with 'spawn' or 'forkserver', close every AsyncPredictClient before the fork, or use "
                "REST"
            )
        self._connection = connection
        self._arguments = arguments
        self._route = route
        self.plain = True  # whether the channel is gRPC's own, without interceptors or instrumentation
        self._leaving: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.replicas = Replicas(connection.target.addresses)
        self.log = ConnectionLog(str(connection.target), "grpc")
        self.grpc: Any = None
        self.methods: dict[str, Any] = {}
        self.ready: dict[str, Any] = {}  # those that calls may use without a look at names; none if there are names
        if self.replicas.address:
            self.grpc = self._open()

    async def found(self, deadline: Deadline) -> bool:
        """Whether there is a channel. Waits for the replicas' names, until the deadline."""
        if self.grpc is None:
            if self._looking is None and self.replicas.due():
                self.look()
            if self._looking is not None:
                await asyncio.wait([self._looking], timeout=deadline.remaining())
        return self.grpc is not None

    def look(self) -> None:
        """Start resolving the replicas' names. Running calls keep the old channel, which is closed after them."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        if await daemon_threads.run_in_thread(self.replicas.moved, "tfs-client-resolve"):
            old, self.grpc, self.methods = self.grpc, self._open(), {}
            self.log.down = True
            if old is not None:
                task = asyncio.get_running_loop().create_task(old.close(LEAVE))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Cancel running calls and release the connection."""
        self.log.closed()
        tasks = [*self._leaving, *filter(None, [self._looking])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.grpc is not None:
            await self.grpc.close()

    def _open(self) -> Any:
        """Open a channel. Arguments go by keyword, because instrumentation wraps these functions and adds some."""
        target, options = self._route.to(self.replicas.address, self._arguments)
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
    """Detects forks after which gRPC's asyncio API does not work.

    All its channels share one queue of events, which a thread reads while there are channels. A forked child has the
    queue but not the thread: calls hang beyond their deadlines, or the process crashes.

    Attributes:
        broken: whether this process descends from such a fork.
    """

    def __init__(self) -> None:
        self.broken = False
        self._in_use = False

    def before(self) -> None:
        """In the parent, before a fork."""
        self._in_use = any(
            "_poll_wrapper" in thread.name for thread in threading.enumerate()
        )  # grpc does not show it in another way

    def in_child(self) -> None:
        """In the child, after it."""
        self.broken = self.broken or self._in_use


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_child=_forks.in_child)


def _cancelling() -> bool:
    """Whether the running task was cancelled. Before Python 3.11 this is not known."""
    task = asyncio.current_task()
    return task is not None and hasattr(task, "cancelling") and task.cancelling() > 0
