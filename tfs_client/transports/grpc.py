"""Blocking calls and futures over gRPC. Messages stay bytes: gRPC gets no serializers."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

import grpc

from tfs_client.errors import ClosedError, StatusCode, TFServingError, call_error
from tfs_client.options import ChannelOptions, MetadataPairs, checked_channel_options
from tfs_client.transports.memory import RequestMemory

Result = TypeVar("Result")

# Messages of any size, unless the user sets a limit: a tensor is as large as it is. A connection of its own for every
# client, so that closing one closes its connection; and quick attempts to find a server again that was away.
DEFAULT_OPTIONS: dict[str, Any] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5000,
}

# What gRPC says when it could not reach a server; a server that is reached may be unavailable in words of its own.
_UNREACHED = re.compile(r"connect|resol|socket|recvmsg|sendmsg|handshake|endpoint|address|goaway", re.IGNORECASE)


class GrpcTransport:
    """A channel to one target."""

    def __init__(self, target: str, options: ChannelOptions | None = None) -> None:
        self.target = target
        self._options = DEFAULT_OPTIONS | checked_channel_options(options)
        self._closed = False
        self._channel: Any = grpc.insecure_channel(target, options=list(self._options.items()))
        self._methods: dict[str, Any] = {}
        self._memory = RequestMemory()
        self.join = self._memory.join  # makes requests for ``call``

    def call(
        self,
        path: str,
        request: bytes,
        timeout: float | None,
        metadata: MetadataPairs = (),
        *,
        wait_for_ready: bool | None = None,
    ) -> bytes:
        """Send a request and wait for its reply, ``timeout`` seconds at the most. Raises CallError or ClosedError."""
        try:
            reply: bytes = self._method(path)(
                request, timeout=timeout, metadata=metadata or None, wait_for_ready=wait_for_ready
            )
        except grpc.RpcError as error:
            raise self._translate(error, path, timeout) from error
        except ValueError as error:
            raise self._misuse(error) from error
        finally:
            self._memory.give_back(request)
        return reply

    def start(
        self,
        path: str,
        request: bytes,
        timeout: float | None,
        metadata: MetadataPairs,
        read: Callable[[bytes], Result],
        failed: Callable[[], None] = lambda: None,
    ) -> Future[Result]:
        """Send a request and return at once; the future holds what ``read`` makes of the reply.

        ``failed`` is called when the call fails, before the future tells.
        """
        try:
            rpc = self._method(path).future(request, timeout=timeout, metadata=metadata or None)
        except ValueError as error:
            raise self._misuse(error) from error
        future: CallFuture[Result] = CallFuture(rpc)

        def finish(done: Any) -> None:
            if done.code() is grpc.StatusCode.OK:
                try:
                    future.settle(read(done.result()), None)
                except Exception as error:  # whatever it is, the one who waits must hear of it
                    future.settle(None, error)
            else:
                failed()
                future.settle(None, self._translate(done, path, timeout))

        rpc.add_done_callback(finish)
        return future

    def close(self) -> None:
        """Cancel what is under way and release the connection. May be called again."""
        self._closed = True
        self._channel.close()
        self._memory.close()

    def _method(self, path: str) -> Any:
        method = self._methods.get(path)
        if method is None:
            method = self._methods[path] = self._channel.unary_unary(path)
        return method

    def _misuse(self, error: ValueError) -> TFServingError:
        if self._closed:
            return ClosedError(f"the client of {self.target} was closed")
        return TFServingError(str(error))

    def _translate(self, error: Any, path: str, timeout: float | None) -> TFServingError:
        """Our error for one of gRPC's: the same code and text, and what to try next."""
        code = StatusCode(error.code().value[0])
        details = error.details() or ""
        method = path.rpartition("/")[2]
        if code is StatusCode.CANCELLED and self._closed:
            return ClosedError(f"the client of {self.target} was closed during {method}")
        return call_error(code, details, method, self._hint(code, details, timeout))

    def _hint(self, code: StatusCode, details: str, timeout: float | None) -> str:
        if code is StatusCode.UNAVAILABLE and _UNREACHED.search(details):
            return (
                f"Nothing that speaks gRPC answered at {self.target}: is the server running, "
                "and is this its gRPC port (usually 8500; 8501 is REST)?"
            )
        if code is StatusCode.DEADLINE_EXCEEDED:
            return f"No answer from {self.target} within {timeout} s; timeout= sets another limit, None takes it away."
        if code is StatusCode.RESOURCE_EXHAUSTED:
            return self._size_hint(details)
        return ""

    def _size_hint(self, details: str) -> str:
        """Which side refused a message for its size. gRPC says so in words alone, and newer versions name the side."""
        found = re.search(
            r"(?:(CLIENT|SERVER): )?(Sent|Received) message larger than max \((\d+) vs\. (\d+)\)", details
        )
        if found is None:
            return ""
        side, verb, _, limit = found.groups()
        option = f"grpc.max_{'send' if verb == 'Sent' else 'receive'}_message_length"
        ours = self._options[option] == int(limit)
        if (side == "CLIENT") if side else ours:
            what = "request" if verb == "Sent" else "reply"
            return f"The client refused its {what}: raise {option!r} in channel_options, or leave it out for no limit."
        what = "reply" if verb == "Sent" else "request"
        return (
            f"The server refused the {what}: start it with --grpc_channel_arguments={option}=-1, "
            "or send smaller batches."
        )


class CallFuture(Future[Result]):
    """A concurrent.futures.Future whose ``cancel`` reaches the server."""

    def __init__(self, rpc: Any) -> None:
        super().__init__()
        self._rpc = rpc
        self._cancelling = threading.RLock()  # callbacks run under it, and may cancel too

    def cancel(self) -> bool:
        """Cancel the call, here and on the server. False when it was over before."""
        with self._cancelling:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()  # so that as_completed and wait hear of it
        self._rpc.cancel()
        return True

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Called once, when the call is over. A cancelled future stays cancelled."""
        with contextlib.suppress(InvalidStateError):
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)
