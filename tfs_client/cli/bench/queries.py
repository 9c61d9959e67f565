"""Queries: the requests that a load generator sends, prepared before the load begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tfs_client.aio import AsyncPredictClient
    from tfs_client.results import Timing


class Answer(Protocol):
    """A result of the client that knows its timing."""

    @property
    def timing(self) -> Timing | None: ...


class Query(Protocol):
    """One request.

    Attributes:
        rows: how many examples it has.
        at: seconds after the first request of its recording; None if it comes from none.
    """

    rows: int
    at: float | None

    async def send(self, client: AsyncPredictClient) -> Answer:
        """Send it. Raises CallError."""
        ...

    def difference(self, answer: Answer) -> str:
        """How an answer differs from the reference; empty if it does not, or if there is none."""
        ...


class Queries(Protocol):
    """A description of queries that every client process can make for itself, and that can be pickled."""

    def make(self) -> Sequence[Query]:
        """The queries, the same in every process; they are sent in turn, and again from the first."""
        ...
