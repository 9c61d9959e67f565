"""Preparation: the trial, and the answers that are compared with those under load."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tfs_client._printable import shown
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.query_sources.chosen import Chosen
from tfs_client.cli.bench.query_sources.predictions import PredictQueries, PredictQuery
from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQueries, RecordedQuery
from tfs_client.cli.bench.query_sources.references import Tolerance
from tfs_client.cli.bench.target import BenchTarget
from tfs_client.cli.bench.trial import trial
from tfs_client.cli.input_files import arrays_in
from tfs_client.errors import ConfigError
from tfs_client.recordings.differences import check_tolerances
from tfs_client.results import ModelVersion

FIRST, RECORDED, ARCHIVE = "first", "recorded", ".npz"


@dataclass(frozen=True)
class Prepared:
    """Queries that the target has answered once.

    Attributes:
        queries: the queries, with the answers to expect if they are checked.
        model: the version that answered; None if it is unknown.
    """

    queries: PredictQueries | RecordedQueries
    model: ModelVersion | None


def tolerance_of(options: BenchOptions) -> Tolerance:
    """Return the tolerance of --check. Raises ConfigError."""
    rtol, atol = options.rtol or 0.0, options.atol or 0.0
    check_tolerances(rtol, atol, ("--rtol", "--atol"))
    return Tolerance(rtol, atol)


def prepared(options: BenchOptions, sent: Chosen, target: BenchTarget) -> Prepared:
    """Send every query once, and take the answers to expect.

    Of a recording, one call of each method, model and signature is sent, unless all answers are needed.

    Raises CallError, DecodeError and ConfigError, as ``trial`` does; ConfigError for answers that cannot be expected.
    """
    queries, tolerance = sent.queries, tolerance_of(options)
    if options.check not in (None, FIRST):
        queries = _expecting(options.check or "", queries, tolerance)
    tried: Sequence[PredictQuery | RecordedQuery] = queries.make()
    if options.check != FIRST and isinstance(queries, RecordedQueries):
        tried = [tried[place] for place in queries.kinds()]
    found = asyncio.run(trial(target.make_client(), tried, tolerance if options.check == FIRST else None))
    if options.check == FIRST:
        queries = queries.expecting(found.outputs, tolerance)
    return Prepared(queries, found.model)


def _expecting(
    check: str, queries: PredictQueries | RecordedQueries, tolerance: Tolerance
) -> PredictQueries | RecordedQueries:
    if check == RECORDED:
        assert isinstance(queries, RecordedQueries)
        return queries.compared(tolerance)
    if not check.endswith(ARCHIVE):
        raise ConfigError(f"expected --check {FIRST}, {RECORDED} or FILE{ARCHIVE}, got {shown(check)}")
    count = len(queries.requests if isinstance(queries, PredictQueries) else queries.episodes)
    if count > 1:
        raise ConfigError(
            f"--check FILE{ARCHIVE} has the outputs for one request, and {count} different ones are sent: --distinct 1 "
            "sends one"
        )
    return queries.expecting([arrays_in(check)], tolerance)
