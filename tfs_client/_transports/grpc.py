"""Blocking calls and futures over gRPC. Messages stay bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from tfs_client._codec.inflating import COMPRESSED
from tfs_client._transports import daemon_threads
from tfs_client._transports.connection import Connection
from tfs_client._transports.connection_log import ConnectionLog
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.grpc_channel import COMPRESSIONS, NO_COMPRESSION, arguments, connecting, credentials
from tfs_client._transports.grpc_errors import GrpcErrors
from tfs_client._transports.grpc_interceptors import answering, check_interceptors, intercepted
from tfs_client._transports.grpc_messages import BYTES, Message, is_plain, messages
from tfs_client._transports.grpc_metadata import answer_of, metadata_of
from tfs_client._transports.grpc_outcomes import outcome, with_facts
from tfs_client._transports.grpc_replies import GrpcReplies
from tfs_client._transports.grpc_route import GrpcRoute
from tfs_client._transports.replicas import Replicas
from tfs_client._transports.reply import Reply
from tfs_client._transports.request_buffers import LARGE, RequestBuffers
from tfs_client._transports.steps import Done, Send
from tfs_client._transports.targets import peer_of
from tfs_client._transports.transport import Cancel
from tfs_client.errors import DeadlineExceededError, TFServingError
from tfs_client.options import UNSET

CLOSING = 1.0  # seconds that ``close`` waits for grpc, at most


class _Method(NamedTuple):
    """A method of a channel.

    Attributes:
        plain: the channel's object.
        answer: makes a call, as ``answering`` returns it.
    """

    plain: Any
    answer: Callable[..., Any]


class GrpcTransport:
    """A channel to one target, or to several that are replicas."""

    def __init__(self, connection: Connection) -> None:
        check_interceptors(connection.interceptors)
        self._connection = connection
        self._arguments = arguments(connection)
        self._route = GrpcRoute(connection)
        self._plain = True  # whether the channel is gRPC's own, without interceptors or instrumentation
        self._errors = GrpcErrors(connection, self._arguments)
        self._replies = GrpcReplies(connection, self._errors)
        self._replicas = Replicas(connection.target.addresses)
        self._peer = peer_of(connection.target)
        self._closed = False
        self._answering: int | None = None  # the thread that delivers a reply, while ``done`` runs in it
        self._connection_log = ConnectionLog(str(connection.target), "grpc")
        # A channel and its methods by path. Resolving the replicas' names may replace both.
        self._channel_and_methods: tuple[Any, dict[str, _Method]] | None = None
        self._found = threading.Event()  # set once there is a channel
        # The methods that calls may use without a look at names and at ``close``; none if names are resolved again.
        self._ready: dict[str, _Method] = {}
        if self._replicas.address:
            self._connect()
        self._buffers = RequestBuffers()
        self.join = self._buffers.join  # makes requests for ``call``
        self.give_back = self._buffers.give_back

    def call(self, send: Send) -> Reply:
        """Send a request and wait for its reply, until the deadline at the latest. Raises CallError or ClosedError."""
        address, body, deadline, metadata, compression, wait_for_ready = send
        down = self._connection_log.down
        try:
            method = self._ready.get(address) or self._method(address, deadline)
            found: Any = method.answer(
                body if self._plain else Message(body),
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
        except grpc.RpcError as error:
            raise self._translated(error, send, down) from error
        except Exception as error:
            self._errors.check_misuse(error, address, plain=self._plain, closed=self._closed)
            raise
        finally:
            if len(body) >= LARGE:  # smaller ones are not reused
                self._buffers.give_back(body)
        if self._connection_log.down:
            self._connection_log.up()
        # An interceptor may return something else in place of reply and call.
        reply, call = found if type(found) is tuple and len(found) == 2 else (found, None)
        if not isinstance(reply, bytes):
            raise self._errors.no_message(reply, send.address)
        if reply[:1] in COMPRESSED:
            reply = self._replies.plain(reply, send)
        return Reply(reply, self._peer, *metadata_of(call))

    def start(self, send: Send, done: Done) -> Cancel:
        """Send a request and return at once; ``done`` receives the reply or the error, in one of gRPC's threads.

        Returns a function that cancels the call.
        """
        if daemon_threads.too_late():  # gRPC cannot start its threads either, but would wait for them
            return self._call_here(send, done)
        address, body, deadline, metadata, compression, wait_for_ready = send
        down = self._connection_log.down
        try:
            method = self._ready.get(address) or self._method(address, deadline)
            rpc = method.plain.future(
                body if self._plain else Message(body),
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
        except BaseException as error:
            self._buffers.give_back(body)
            if isinstance(error, Exception):
                self._errors.check_misuse(error, address, plain=self._plain, closed=self._closed)
            raise

        def finish(ended: Any) -> None:
            if len(body) >= LARGE:
                self._buffers.give_back(body)
            self._answering = threading.get_ident()
            try:
                # The usual answer is read in place: this thread receives all replies, one after the other.
                answered = answer_of(ended) if self._plain and not self._connection_log.down else None
                if answered is not None and answered[0][:1] not in COMPRESSED:
                    reply, initial, trailing = answered
                    done(Reply(reply, self._peer, initial, trailing), None)
                else:
                    done(*self._result(ended, send, down))
            finally:
                self._answering = None

        if not hasattr(rpc, "add_done_callback"):  # an interceptor replaced the call object
            finish(rpc)
            return lambda: None
        rpc.add_done_callback(finish)
        cancel: Cancel = rpc.cancel
        return cancel

    def _result(self, ended: Any, send: Send, down: bool) -> tuple[Reply | None, Exception | None]:
        """The reply or the error of a call that has ended. Whatever goes wrong here is its error: futures must end."""
        try:
            return self._received(ended, send, down)
        except Exception as error:  # of an interceptor, mostly
            return None, error

    def _received(self, ended: Any, send: Send, down: bool) -> tuple[Reply | None, TFServingError | None]:
        try:
            reply = ended.result() if hasattr(ended, "result") else ended
            if isinstance(reply, bytes) and reply[:1] in COMPRESSED:
                reply = self._replies.plain(reply, send)
            if self._connection_log.down:
                self._connection_log.up()
            if isinstance(reply, bytes):
                return Reply(reply, self._peer, *metadata_of(ended)), None
            return None, self._errors.no_message(reply, send.address)
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            error.__traceback__ = None  # it often is the call itself, which would keep this frame and the future alive
            return None, self._translated(error if hasattr(error, "code") else ended, send, down)

    def close(self) -> None:
        """Cancel running calls and release the connection. Calling it again does nothing."""
        self._closed = True
        self._ready = {}
        self._connection_log.closed()
        self._found.set()  # nothing needs to wait for names any more
        if self._channel_and_methods is not None:
            channel = self._channel_and_methods[0]
            closing = daemon_threads.start(channel.close, "tfs-client-close")
            if closing is None:
                channel.close()
            # A channel waits for its calls to end; in the thread that delivers replies it would wait for itself. A call
            # whose start was interrupted (Ctrl-C) never ends.
            elif self._answering != threading.get_ident():
                closing.join(CLOSING)
        self._buffers.close()

    def abandon(self) -> None:
        """In a forked process: gRPC's connections stay as they are, because releasing them waits for its threads."""

    def _call_here(self, send: Send, done: Done) -> Cancel:
        """Make a call in this thread."""
        reply: Reply | None = None
        failure: TFServingError | None = None
        try:
            reply = self.call(send)
        except TFServingError as error:
            failure = error
        done(reply, failure)
        return lambda: None

    def _connect(self) -> None:
        self._channel_and_methods = self._open(self._replicas.address), {}
        self._connection_log.down = True
        self._found.set()

    def _open(self, address: str) -> Any:
        """Open a channel. Arguments go by keyword, because instrumentation wraps these functions and adds some."""
        target, options = self._route.to(address, self._arguments)
        compression = COMPRESSIONS[self._connection.compression]
        tls = self._connection.tls
        if tls is None:
            channel = grpc.insecure_channel(target, options=options, compression=compression)
        else:
            channel = grpc.secure_channel(target, credentials(tls), options=options, compression=compression)
        channel = intercepted(channel, self._connection.interceptors)
        self._plain = is_plain(channel)
        return channel

    def _method(self, path: str, deadline: Deadline) -> _Method:
        if (
            self._replicas.due()
            and daemon_threads.start(self._look, "tfs-client-resolve") is None
            and self._channel_and_methods is None
        ):
            self._look()
        if self._channel_and_methods is None:
            self._found.wait(deadline.remaining())
        if self._channel_and_methods is None:
            raise self._errors.closed() if self._closed else self._errors.unresolved(path, deadline)
        if self._closed:
            raise self._errors.closed()
        channel, methods = self._channel_and_methods
        method = methods.get(path)
        if method is None:
            kind = BYTES if self._plain else messages(self._replies.message)
            plain = channel.unary_unary(path, **kind)
            method = methods[path] = _Method(plain, answering(plain))
        if not self._replicas.named:
            self._ready[path] = method
        return method

    def _look(self) -> None:
        """Resolve the replicas' names. Running calls keep the old channel, which is freed after the last of them."""
        if self._replicas.moved() and not self._closed:
            self._connect()

    def _translated(self, error: Any, send: Send, down: bool) -> TFServingError:
        """Translate an error of gRPC; ``down``: there was no connection before the call.

        Without a connection before and after it, a call was never sent. If there was one before, the state now proves
        nothing: a server that stops finishes its calls while it accepts no new connections.
        """
        ended = outcome(error)
        made = self._errors.made_of(
            ended.code, ended.details, send.address, send.deadline, ended.trailing, closed=self._closed
        )
        if self._errors.lost(made):
            self._connection_log.lost()
        elif (
            isinstance(made, DeadlineExceededError)
            and down
            and self._connection_log.down
            and self._channel_and_methods
            and connecting(self._channel_and_methods[0])
        ):
            self._errors.unsent(made, send.deadline)
        return with_facts(made, ended, self._peer)
