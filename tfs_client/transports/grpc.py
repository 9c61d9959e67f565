"""Blocking calls and futures over gRPC. Messages stay bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from tfs_client import daemons
from tfs_client.errors import DeadlineExceededError, TFServingError
from tfs_client.inflating import COMPRESSED
from tfs_client.options import UNSET, Connection, Deadline
from tfs_client.steps import Send
from tfs_client.transports.grpc_channel import COMPRESSIONS, NO_COMPRESSION, arguments, connecting, credentials
from tfs_client.transports.grpc_errors import GrpcErrors
from tfs_client.transports.grpc_interceptors import check_interceptors, intercepted
from tfs_client.transports.grpc_messages import BYTES, Message, is_plain, messages
from tfs_client.transports.grpc_outcomes import outcome
from tfs_client.transports.grpc_replies import GrpcReplies
from tfs_client.transports.grpc_way import GrpcWay
from tfs_client.transports.memory import RequestMemory
from tfs_client.transports.replicas import Replicas

Result = TypeVar("Result")
Done = Callable[[bytes | None, Exception | None], None]


class GrpcTransport:
    """A channel to one target, or to several that are replicas."""

    def __init__(self, connection: Connection) -> None:
        check_interceptors(connection.interceptors)
        self._connection = connection
        self._arguments = arguments(connection)
        self._way = GrpcWay(connection)
        self._plain = True  # whether nobody is between gRPC's channel and its callers
        self._errors = GrpcErrors(connection, self._arguments)
        self._replies = GrpcReplies(connection, self._errors)
        self._replicas = Replicas(connection.target.addresses)
        self._closed = False
        self._answering: int | None = None  # the thread that brings an answer, while what is waiting for it runs there
        self._down = True  # whether there was no connection when a call ended last
        # A channel, and what was made of it, for a look at the replicas' names replaces both.
        self._link: tuple[Any, dict[str, Any]] | None = None
        self._found = threading.Event()  # set once there is a link
        if self._replicas.address:
            self._connect()
        self._memory = RequestMemory()
        self.join = self._memory.join  # makes requests for ``call``
        self.give_back = self._memory.give_back

    def call(self, send: Send) -> bytes:
        """Send a request and wait for its reply, until the deadline at the most. Raises CallError or ClosedError."""
        address, body, deadline, metadata, compression, wait_for_ready = send
        down = self._down
        try:
            method = self._method(address, deadline)
            reply: Any = method(
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
            self._memory.give_back(body)
        self._down = False
        if not isinstance(reply, bytes):
            raise self._errors.no_message(reply, send.address)
        if reply[:1] in COMPRESSED:
            return self._replies.plain(reply, send)
        return reply

    def start(self, send: Send, done: Done) -> Callable[[], object]:
        """Send a request and return at once; ``done`` gets the reply or the error, in a thread of gRPC's.

        Returns what cancels the call.
        """
        if daemons.too_late():  # gRPC's threads cannot be started either, and would be waited for nevertheless
            return self._call_here(send, done)
        address, body, deadline, metadata, compression, wait_for_ready = send
        down = self._down
        try:
            method = self._method(address, deadline)
            rpc = method.future(
                body if self._plain else Message(body),
                timeout=deadline.remaining(),
                metadata=metadata or None,
                wait_for_ready=wait_for_ready,
                compression=None if compression is UNSET else COMPRESSIONS[compression] or NO_COMPRESSION,
            )
        except BaseException as error:
            self._memory.give_back(body)
            if isinstance(error, Exception):
                self._errors.check_misuse(error, address, plain=self._plain, closed=self._closed)
            raise

        def finish(ended: Any) -> None:
            self._memory.give_back(body)
            self._answering = threading.get_ident()
            try:
                reply = ended.result() if hasattr(ended, "result") else ended
                if isinstance(reply, bytes) and reply[:1] in COMPRESSED:
                    reply = self._replies.plain(reply, send)
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                error.__traceback__ = None  # mostly it is the call itself: it would hold this frame, and the future
                done(None, self._translated(error if hasattr(error, "code") else ended, send, down))
            except Exception as error:  # of an interceptor
                done(None, error)
            else:
                self._down = False
                if isinstance(reply, bytes):
                    done(reply, None)
                else:
                    done(None, self._errors.no_message(reply, address))
            self._answering = None

        if not hasattr(rpc, "add_done_callback"):  # what an interceptor has put in the call's place
            finish(rpc)
            return lambda: None
        rpc.add_done_callback(finish)
        cancel: Callable[[], object] = rpc.cancel
        return cancel

    def close(self) -> None:
        """Cancel what is under way and release the connection. May be called again."""
        self._closed = True
        self._found.set()  # nobody need wait for names any more
        if self._link is not None:
            channel = self._link[0]
            # A channel waits for the ends of its calls, and would not hear of them in the thread that brings answers.
            if self._answering != threading.get_ident() or daemons.start(channel.close, "tfs-client-close") is None:
                channel.close()
        self._memory.close()

    def _call_here(self, send: Send, done: Done) -> Callable[[], object]:
        """Make a call in this thread."""
        reply: bytes | None = None
        failure: TFServingError | None = None
        try:
            reply = self.call(send)
        except TFServingError as error:
            failure = error
        done(reply, failure)
        return lambda: None

    def _connect(self) -> None:
        self._link = self._open(self._replicas.address), {}
        self._down = True
        self._found.set()

    def _open(self, address: str) -> Any:
        """A channel. Arguments go by keyword, for others wrap these functions and add some of their own."""
        target, options = self._way.to(address, self._arguments)
        compression = COMPRESSIONS[self._connection.compression]
        tls = self._connection.tls
        if tls is None:
            channel = grpc.insecure_channel(target, options=options, compression=compression)
        else:
            channel = grpc.secure_channel(target, credentials(tls), options=options, compression=compression)
        channel = intercepted(channel, self._connection.interceptors)
        self._plain = is_plain(channel)
        return channel

    def _method(self, path: str, deadline: Deadline) -> Any:
        if self._replicas.due() and daemons.start(self._look, "tfs-client-resolve") is None and self._link is None:
            self._look()
        if self._link is None:
            self._found.wait(deadline.remaining())
        if self._link is None:
            raise self._errors.closed() if self._closed else self._errors.nameless(path, deadline)
        if self._closed:
            raise self._errors.closed()
        channel, methods = self._link
        method = methods.get(path)
        if method is None:
            kind = BYTES if self._plain else messages(self._replies.message)
            method = methods[path] = channel.unary_unary(path, **kind)
        return method

    def _look(self) -> None:
        """Resolve the replicas' names. Calls under way keep the old channel, which goes with the last of them."""
        if self._replicas.moved() and not self._closed:
            self._connect()

    def _translated(self, error: Any, send: Send, down: bool) -> TFServingError:
        """Our error; ``down`` says whether there was no connection before the call.

        Without a connection before and after it, a call was sent over none. Of one that began on a connection the state
        now says nothing: a server that stops finishes its calls while it takes no new connections.
        """
        code, details, trailing = outcome(error)
        made = self._errors.made_of(code, details, send.address, send.deadline, trailing, closed=self._closed)
        if self._errors.lost(made):
            self._down = True
        elif (
            isinstance(made, DeadlineExceededError) and down and self._down and self._link and connecting(self._link[0])
        ):
            self._errors.unsent(made, send.deadline)
        return made
