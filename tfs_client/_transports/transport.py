"""Transport: sends the bytes of a request and returns its reply. One implementation per protocol and style.

A transport knows no tensors and no models. Exceptions of gRPC and httpx end here: a failed call raises the CallError of
its status code, a call on a closed client ClosedError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tfs_client._transports.reply import Reply
from tfs_client._transports.steps import Done, Send

Cancel = Callable[[], object]
"""Cancels a call that was started."""

Start = Callable[[Send, Done], Cancel]
"""Sends a request and returns at once."""


class Transport(Protocol):
    """Blocking calls. May be used from any thread."""

    def call(self, send: Send) -> Reply:
        """Send a request and wait for its reply, until the deadline at the latest.

        Raises CallError, ConfigError, DecodeError or ClosedError.
        """

    def close(self) -> None:
        """Cancel running calls and release the connections. May be called again."""

    def abandon(self) -> None:
        """Leave the connections to the parent process. Called in a forked process, without taking locks."""


class AsyncTransport(Protocol):
    """The asyncio version of Transport. Each event loop gets connections of its own."""

    async def call(self, send: Send) -> Reply:
        """Send a request and await its reply. Cancelling the task cancels the call."""

    async def close(self) -> None:
        """Cancel running calls and release the connections. May be called again."""
