"""Queries that call Predict with prepared inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfs_client._codec.dtypes import Array
from tfs_client.cli.bench.query_sources.references import EXACT, Reference, Tolerance
from tfs_client.errors import ConfigError
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from tfs_client.aio import AsyncPredictClient
    from tfs_client.cli.bench.queries import Answer

MOST_BYTES = 1 << 31  # of all prepared requests, which every client process holds


class PredictQuery:
    """A call of Predict.

    Args:
        inputs: arrays by alias.
        rows: the examples among them.
        reference: the answer to expect; None for any.
    """

    __slots__ = ("at", "inputs", "reference", "rows")

    def __init__(self, inputs: Mapping[str, Array], rows: int, reference: Reference | None = None) -> None:
        self.inputs: Mapping[str, Array] = inputs
        self.rows: int = rows
        self.at: float | None = None
        self.reference: Reference | None = reference

    async def send(self, client: AsyncPredictClient) -> Prediction:
        """Send it to the client's model. Raises CallError."""
        return await client.predict(self.inputs)

    def values(self, answer: Answer) -> Mapping[str, Array]:
        """Return the outputs of an answer by alias."""
        assert isinstance(answer, Prediction)
        return answer

    def difference(self, answer: Answer) -> str:
        """How an answer differs from the reference; empty if it does not, or if none is expected."""
        return "" if self.reference is None else self.reference.difference(self.values(answer))


@dataclass(frozen=True, eq=False)
class PredictQueries:
    """Prepared inputs of Predict.

    Attributes:
        requests: the inputs of each query, by alias.
        references: the outputs that each should give; None for any.
        tolerance: how far numbers may be from them.
    """

    requests: Sequence[Mapping[str, Array]]
    references: Sequence[Mapping[str, Array]] | None = None
    tolerance: Tolerance = EXACT

    def make(self) -> list[PredictQuery]:
        """Return the queries."""
        found = [PredictQuery(inputs, rows_of(inputs)) for inputs in self.requests]
        if self.references is not None:
            for query, outputs in zip(found, self.references, strict=True):
                query.reference = Reference(outputs, self.tolerance)
        return found

    def expecting(self, references: Sequence[Mapping[str, Array]], tolerance: Tolerance) -> PredictQueries:
        """Return the same queries with the outputs that each should give."""
        return replace(self, references=references, tolerance=tolerance)


def rows_of(inputs: Mapping[str, Array]) -> int:
    """Return the number of examples in a request: the first size of its inputs where all have the same, else 1."""
    sizes = {array.shape[0] if array.ndim else 1 for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 1


def check_bytes(size: int) -> None:
    """Raise ConfigError for prepared requests that would take too much memory."""
    if size > MOST_BYTES:
        raise ConfigError(
            f"expected prepared requests of at most {MOST_BYTES >> 20} MiB, got {size >> 20} MiB: "
            "--distinct N prepares fewer"
        )
