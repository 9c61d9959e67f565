"""Forwards gRPC calls: bytes of any method of any service, with their deadline, metadata, status and compression."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import grpc

from tfs_client._codec.inflating import GZIP, TooLarge, inflated, inflation_of
from tfs_client._transports.connection import Connection
from tfs_client._transports.grpc_channel import arguments, credentials
from tfs_client._transports.grpc_route import GrpcRoute
from tfs_client.errors import DecodeError, StatusCode
from tfs_client.options import MAX_INFLATED, MetadataPairs
from tfs_client.recordings.episodes import LOGGED
from tfs_client.server.call_record import finite_timeout
from tfs_client.server.grpc.overload import GenericRpcHandler
from tfs_client.testing.recording_proxy.recorder import CALLER_LEFT

SERVICES = "tensorflow.serving"
RECORDED = {
    **{f"/{SERVICES}.PredictionService/{method}": method for method in (*LOGGED, "GetModelMetadata")},
    f"/{SERVICES}.ModelService/GetModelStatus": "GetModelStatus",
}
"""The methods that are recorded, by path."""

# Set by each gRPC connection for itself.
HOP_BY_HOP = frozenset(("user-agent", "te", "content-type", "accept-encoding", "grpc-encoding", "grpc-accept-encoding"))


@dataclass(frozen=True)
class ForwardedCall:
    """A gRPC call that has ended.

    Attributes:
        method: the API method.
        request, reply: the messages, not compressed; no reply for a failed call.
        code, details: its status.
        metadata: what the caller sent.
        seconds: how long it took.
        ended: the time, in seconds since 1970.
    """

    method: str
    request: bytes = field(repr=False)
    reply: bytes | None = field(repr=False)
    code: StatusCode
    details: str
    metadata: MetadataPairs = field(repr=False)
    seconds: float
    ended: float


class Channel:
    """The connection to the server.

    Args:
        connection: how to reach it.
        added: metadata that is sent with calls whose callers do not send the same keys.
    """

    def __init__(self, connection: Connection, added: MetadataPairs) -> None:
        target, options = GrpcRoute(connection).to(connection.target.addresses[0], arguments(connection))
        if connection.tls is None:
            self.channel: Any = grpc.insecure_channel(target, options=options)
        else:
            self.channel = grpc.secure_channel(target, credentials(connection.tls), options=options)
        self._added = added

    def metadata(self, sent: MetadataPairs) -> MetadataPairs:
        """Return the metadata to forward."""
        return with_added(sent, self._added)

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()


class GrpcForwarding(GenericRpcHandler):
    """Handles every call by forwarding it.

    Args:
        channel: the connection to the server.
        passing: makes a context for each call of a method that is recorded, until it is noted.
        ended: takes such a call.
        left_out: takes the reason why another call is not recorded.
    """

    def __init__(
        self,
        channel: Channel,
        passing: Callable[[], AbstractContextManager[None]],
        ended: Callable[[ForwardedCall], None],
        left_out: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._passing = passing
        self._ended = ended
        self._left_out = left_out

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call."""
        path = handler_call_details.method
        if path in RECORDED:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self._noted(path, request, context))
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._forward_stream(path, requests, context)
        )

    def _noted(self, path: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._passing():
            return self._forward(path, request, context)

    def _forward(self, path: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        began = time.monotonic()
        sent = forwarded(context.invocation_metadata())
        plain, compression = _plain(request, context)
        rpc = self._channel.channel.unary_unary(path).future(
            plain,
            timeout=finite_timeout(context.time_remaining()),
            metadata=self._channel.metadata(sent) or None,
            compression=compression,
        )
        if not context.add_callback(rpc.cancel):
            rpc.cancel()
        code = rpc.code()  # waits for the end
        reply, compression = _plain(rpc.result(), context) if code is grpc.StatusCode.OK else (None, None)
        if context.is_active():  # a caller who has gone has no outcome
            self._ended(
                ForwardedCall(
                    RECORDED[path],
                    plain,
                    reply,
                    StatusCode.of(code.value[0]),
                    rpc.details() or "",
                    sent,
                    time.monotonic() - began,
                    time.time(),
                )
            )
        else:
            self._left_out(CALLER_LEFT)
        if compression is not None:
            context.set_compression(compression)
        _pass_on(rpc, context)
        if reply is None:
            context.abort(code, rpc.details() or "")
        return reply

    def _forward_stream(self, path: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Forward a call of an unknown method. A stream also carries a single message each way."""
        self._left_out(f"calls of {path}")
        rpc: Any = self._channel.channel.stream_stream(path)(
            _received(requests, context),
            timeout=finite_timeout(context.time_remaining()),
            metadata=self._channel.metadata(forwarded(context.invocation_metadata())) or None,
        )
        if not context.add_callback(rpc.cancel):
            rpc.cancel()
        try:
            for reply in rpc:
                yield _plain(reply, context)[0]
        except grpc.RpcError:  # its code follows
            pass
        code = rpc.code()
        _pass_on(rpc, context)
        if code is not grpc.StatusCode.OK:
            context.abort(code, rpc.details() or "")


def with_added(sent: MetadataPairs, added: MetadataPairs) -> MetadataPairs:
    """Return the pairs of a caller, and those of ``added`` whose keys it does not send."""
    keys = {key for key, _ in sent}
    return (*sent, *(pair for pair in added if pair[0] not in keys))


def forwarded(metadata: Iterable[tuple[str, str | bytes]] | None) -> MetadataPairs:
    """Return metadata without what each connection sets for itself."""
    return tuple((key, value) for key, value in metadata or () if key not in HOP_BY_HOP)


def _pass_on(rpc: Any, context: grpc.ServicerContext) -> None:
    """Pass the server's own metadata to the caller."""
    initial = forwarded(rpc.initial_metadata())
    if initial:
        context.send_initial_metadata(initial)
    trailing = forwarded(rpc.trailing_metadata())
    if trailing:
        context.set_trailing_metadata(trailing)


def _received(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Yield the caller's messages; ends when the caller goes, which cancels the call."""
    try:
        for request in requests:
            yield _plain(request, context)[0]
    except Exception:  # grpc raises a bare Exception here
        return


def _plain(message: bytes, context: grpc.ServicerContext) -> tuple[bytes, grpc.Compression | None]:
    """Inflate a message, which gRPC leaves compressed because it would inflate without a limit.

    Returns it with its compression, None for none. Bytes that only look compressed are returned as they are.
    """
    if inflation_of(message, None) is None:
        return message, None
    try:
        plain = inflated(message, MAX_INFLATED)
    except DecodeError:
        return message, None
    except TooLarge as error:
        context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"the message has more than {error.limit} bytes once inflated"
        )
    return plain, grpc.Compression.Gzip if message[:1] == GZIP else grpc.Compression.Deflate
