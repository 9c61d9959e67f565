"""Client: how the harness uses a library, in each of the styles that the library has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from comparison.files import Files, same

TIMEOUT = 60.0  # seconds; a deadline for every call, as a program in production has
MODEL = "m"


class UnsupportedError(Exception):
    """The library cannot do this, with the reason."""


class WrongAnswerError(Exception):
    """A client returned something else than the server sent."""


@dataclass(frozen=True)
class Given:
    """What a client needs for a row.

    Attributes:
        target: host and port.
        style: "sync", "futures" or "asyncio".
        rest: the server speaks HTTP with JSON.
        files: what to send, and what must come back.
    """

    target: str
    style: str
    rest: bool
    files: Files


class Future(Protocol):
    """The reply of a call under way."""

    def result(self) -> Any:
        """Wait for the reply, and return the output as an array."""
        ...


class Client:
    """One connection of one library, for one row. A subclass has the styles of its library."""

    def __init__(self, given: Given) -> None:
        self.given = given

    def open(self) -> None:
        """Connect, for "sync" and "futures"."""
        raise UnsupportedError(f"no style {self.given.style!r}")

    async def open_aio(self) -> None:
        """Connect, for "asyncio"."""
        raise UnsupportedError("no asyncio")

    def call(self) -> Any:
        """Send the inputs; returns the output as an array."""
        raise UnsupportedError("no blocking calls")

    def start(self) -> Future:
        """Begin a call."""
        raise UnsupportedError("no futures")

    async def call_aio(self) -> Any:
        """Send the inputs; returns the output as an array."""
        raise UnsupportedError("no asyncio")

    def check(self, answer: Any) -> None:
        """Compare an answer with what the server sent. Raises WrongAnswerError."""
        (expected,) = self.given.files.outputs.values()
        if not same(answer, expected):
            raise WrongAnswerError(f"expected {expected.dtype} {expected.shape}, got {answer!r:.300}")

    def close(self) -> None:
        """Close the connection."""

    async def close_aio(self) -> None:
        """Close the connection of "asyncio"."""
