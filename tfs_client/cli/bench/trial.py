"""The trial: requests that are sent before the load, so that errors and differences appear before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfs_client._codec.dtypes import Array
from tfs_client.cli.bench.query_sources.references import Reference, Tolerance, kept
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from tfs_client.aio import AsyncPredictClient
    from tfs_client.cli.bench.query_sources.predictions import PredictQuery
    from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQuery
    from tfs_client.results import ModelVersion


@dataclass(frozen=True)
class Trial:
    """What the trial gave.

    Attributes:
        model: the version that answered; None if the answer does not say.
        outputs: the outputs of each request, by alias; empty without ``tolerance``.
    """

    model: ModelVersion | None
    outputs: Sequence[Mapping[str, Array]]


async def trial(
    make_client: Callable[[], AsyncPredictClient],
    queries: Sequence[PredictQuery | RecordedQuery],
    tolerance: Tolerance | None,
) -> Trial:
    """Send each query once, one after the other; and once more where the answers are to be references.

    Args:
        make_client: makes the client.
        queries: what to send.
        tolerance: how far two answers to the same request may be apart; None if they do not serve as references.

    Raises CallError for a request that fails, and for a server that cannot be reached; ConfigError for a model whose
    answers to the same request differ.
    """
    model: ModelVersion | None = None
    outputs: list[Mapping[str, Array]] = []
    async with make_client() as client:
        for query in queries:
            answer: Any = await query.send(client)
            model = model or _model(answer)
            if tolerance is None:
                continue
            first = kept(query.values(answer))
            if found := Reference(first, tolerance).difference(query.values(await query.send(client))):
                raise ConfigError(
                    "--check first: the model's answers to the same request differ, so they cannot serve as a "
                    f"reference: {found}; --rtol and --atol allow differences"
                )
            outputs.append(first)
    return Trial(model, outputs)


def _model(answer: Any) -> ModelVersion | None:
    found = getattr(answer, "result", answer)
    if isinstance(found, dict) and not hasattr(found, "model"):  # of MultiInference
        found = next(iter(found.values()), None)
    model: ModelVersion | None = getattr(found, "model", None)
    return model
