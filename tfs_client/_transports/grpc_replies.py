"""Compressed gRPC replies: inflated here, because gRPC itself would inflate without a limit.

Channels do not decompress them (``grpc.per_message_decompression``); their first bytes show the compression.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

from tfs_client._codec.inflating import TooLarge, inflated, inflation_of
from tfs_client._transports.connection import Connection
from tfs_client._transports.grpc_errors import GrpcErrors
from tfs_client._transports.grpc_messages import Message
from tfs_client._transports.steps import Send
from tfs_client.errors import DecodeError, StatusCode, unreadable

LENGTH = "grpc.max_receive_message_length"
TURN = 0.01  # seconds to inflate a reply before other tasks of the loop run
AT_ONCE = 8 << 20  # bytes to inflate while blocking the loop, if an interceptor sees the reply


class GrpcReplies:
    """Inflates the compressed replies of a connection."""

    def __init__(self, connection: Connection, errors: GrpcErrors) -> None:
        length = connection.channel_options.get(LENGTH)
        limits = [connection.limits.inflated_reply, length if isinstance(length, int) and length >= 0 else None]
        self._limit = min((one for one in limits if one is not None), default=None)
        self._errors = errors

    def plain(self, reply: bytes, send: Send) -> bytes:
        """Inflate a reply. Raises DecodeError, ResourceExhaustedError, DeadlineExceededError."""
        work = self._work(reply, send)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return bytes(end.value)

    async def plain_aio(self, reply: bytes, send: Send) -> bytes:
        """The asyncio version of ``plain``: other tasks run meanwhile."""
        work = self._work(reply, send)
        rest = time.monotonic() + TURN
        while True:
            try:
                next(work)
            except StopIteration as end:
                return bytes(end.value)
            if time.monotonic() >= rest:
                await asyncio.sleep(0)
                rest = time.monotonic() + TURN

    def message(self, reply: bytes) -> Message:
        """A reply as interceptors see it. One that cannot be inflated stays compressed: the transport raises later."""
        return _message(reply, self._limit)

    def message_aio(self, reply: bytes) -> Message:
        """The same in an event loop, which this blocks; so large replies stay compressed, too."""
        return _message(reply, AT_ONCE if self._limit is None else min(self._limit, AT_ONCE))

    def _work(self, reply: bytes, send: Send) -> Generator[None, None, bytes]:
        inflation = inflation_of(reply, self._limit)
        if inflation is None:
            return reply
        method = send.address.rpartition("/")[2]
        try:
            for _ in inflation.add(reply):
                if send.deadline.passed():
                    raise self._errors.made_of(
                        StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", send.address, send.deadline, (), closed=False
                    )
                yield
            return inflation.whole()
        except TooLarge as error:
            raise self._errors.too_large(error.limit, method) from error
        except DecodeError as error:
            raise DecodeError(f"the reply of {method} cannot be read: {error}") from error
        except MemoryError as error:
            raise unreadable(f"the reply of {method}", error) from error


def _message(reply: bytes, limit: int | None) -> Message:
    try:
        return Message(inflated(reply, limit))
    except (TooLarge, DecodeError, MemoryError):
        return Message(reply)
