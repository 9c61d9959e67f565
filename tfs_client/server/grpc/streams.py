"""Streams: gRPC calls of many messages. They never block other calls, and end at once when the server stops.

A stream occupies a thread only while it sends. While it waits for its client, its pool lends another thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc

from tfs_client.server.grpc.arrivals import Arrivals
from tfs_client.server.thread_pool import ThreadPool

MAX_STREAMS = 10_000  # of one service, the maximum of one connection

Send = Callable[["bytes | None"], None]  # gRPC's function: sends a message, or the end of the stream for None


class Stream:
    """An open call. Its methods may be called from any thread, ``write`` from one at a time."""

    def __init__(
        self, arrivals: Arrivals, requests: Iterator[bytes], context: grpc.ServicerContext, send: Send
    ) -> None:
        self._arrivals = arrivals
        self._requests = requests
        self._context = context
        self._send = send
        self._lock = threading.Lock()
        self._writing = False
        self._status: tuple[grpc.StatusCode, str] | None = None  # the final status

    @property
    def metadata(self) -> dict[str, str | bytes]:
        """The client's metadata, by key, the last of several values."""
        return dict(self._context.invocation_metadata())

    def read(self) -> bytes | None:
        """Return the client's next message; None if it sends no more, or has gone.

        While it waits, the pool of this thread has another thread in its place. Arrivals limits the wait.
        """
        return self._arrivals.wait(self._context, lambda: next(self._requests, None))

    def write(self, message: bytes) -> bool:
        """Send a message, and return once the connection has accepted it. False if the call has ended."""
        with self._lock:
            if self._status is not None:
                return False
            self._writing = True
        try:
            return self._arrivals.wait(self._context, lambda: self._sent(message)) is True
        finally:
            with self._lock:
                self._writing = False
                self._finish()

    def _sent(self, message: bytes) -> bool:
        self._send(message)
        return True

    def end(self, code: grpc.StatusCode = grpc.StatusCode.OK, details: str = "") -> None:
        """End the call, after a message that is being sent. No-op if it has ended. Does not wait."""
        with self._lock:
            if self._status is None:
                self._status = code, details
                self._finish()

    def _finish(self) -> None:
        if self._status is not None and not self._writing and self._context.is_active():
            self._context.set_code(self._status[0])
            self._context.set_details(self._status[1])
            self._send(None)

    def cancel(self) -> None:
        """End the call as CANCELLED, even while a message is being sent."""
        self._context.cancel()  # type: ignore[no-untyped-call]

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the call is over; at once if it already is."""
        if not self._context.add_callback(callback):
            callback()


class Streams:
    """The open streams of a service.

    Args:
        arrivals: limits how long they may wait for their clients.
        threads: the pool in which they run.
    """

    def __init__(self, arrivals: Arrivals, threads: ThreadPool) -> None:
        self._arrivals = arrivals
        self._threads = threads
        self._changed = threading.Condition()
        self._open: set[Stream] = set()
        self._closed = False

    def handler(self, serve: Callable[[Stream], None]) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of a method. A call continues after ``serve``, until ``Stream.end`` or ``cancel``."""

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
            stream = Stream(self._arrivals, requests, context, send)
            with self._changed:
                closed, full = self._closed, len(self._open) >= MAX_STREAMS
                if not closed and not full:
                    self._open.add(stream)
            if closed:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            if full:
                context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"too many open streams: the maximum is {MAX_STREAMS}"
                )
            stream.when_over(lambda: self._over(stream))
            serve(stream)

        # Both attributes are experimental in grpc, but years old; grpcio-health-checking uses them too.
        handle.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        handle.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(handle)

    def _over(self, stream: Stream) -> None:
        with self._changed:
            self._open.discard(stream)
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """End the open streams, and refuse new ones. Clients get ``timeout`` seconds to notice."""
        with self._changed:
            self._closed = True
            streams = list(self._open)
        for stream in streams:
            stream.end(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout)
            streams = list(self._open)
        for stream in streams:
            stream.cancel()
