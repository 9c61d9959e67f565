"""The load of a run: stages, a search for the knee, or a comparison of two targets."""

from __future__ import annotations

from contextlib import ExitStack

from tfs_client._printable import counted
from tfs_client.cli.bench import plan
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.before_the_load import Prepared
from tfs_client.cli.bench.compare.alternating import Comparison
from tfs_client.cli.bench.generators import generator
from tfs_client.cli.bench.kept_stages import KeptStages
from tfs_client.cli.bench.outcomes import comparison_result, few_requests, knee_result, lengthened
from tfs_client.cli.bench.query_sources.predictions import PredictQueries
from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQueries
from tfs_client.cli.bench.report.run_results import Results
from tfs_client.cli.bench.search.chosen_stages import run_steps
from tfs_client.cli.bench.search.knee import KneeSearch
from tfs_client.cli.bench.stages import Stage
from tfs_client.cli.bench.target import BenchTarget

NOT_DRAINED = "a stage began while the server was still processing requests of the previous stage"

Load = list[Stage] | KneeSearch | Comparison


def load_of(options: BenchOptions, queries: PredictQueries | RecordedQueries) -> Load:
    """Return the load that the options ask for. Raises ConfigError."""
    if options.find_knee is not None:
        return plan.knee_search(options)
    return plan.stages(options, queries) if options.compare is None else plan.comparison(options)


def notes(options: BenchOptions, load: Load, queries: PredictQueries | RecordedQueries) -> list[str]:
    """Return what to know about a load before it is applied."""
    if options.pace is None or not isinstance(load, list) or not isinstance(queries, RecordedQueries):
        return []
    sent = queries.begun_within((load[0].warmup + load[0].seconds) * options.pace)
    if sent == len(queries.episodes):
        return []
    return [
        f"--duration ends before the recording: the last {len(queries.episodes) - sent} of its "
        f"{counted(len(queries.episodes), 'calls')} are not sent"
    ]


class LoadRun:
    """Applies a load.

    Args:
        options: the command's options.
        load: the load.
        targets: the target, and the base of a comparison, each with its queries.
    """

    def __init__(self, options: BenchOptions, load: Load, targets: list[tuple[BenchTarget, Prepared]]) -> None:
        self._options = options
        self._load = load
        self._targets = targets

    def run(self, stages: KeptStages, results: Results) -> None:
        """Apply the load, and add what a search or a comparison found to the results.

        Raises TFServingError if the queries cannot be sent at all; KeyboardInterrupt.
        """
        with ExitStack() as stack:
            target, *others = [
                stack.enter_context(generator(self._options, sent.queries, target)) for target, sent in self._targets
            ]
            if isinstance(self._load, KneeSearch):
                found = self._load.run(target, stages)
                results.knee = knee_result(found, self._load)
                results.notes += lengthened(found, self._load)
                empty = all(each.drained for each in found.tried)
            elif isinstance(self._load, Comparison):
                (base,) = others
                names = [each.name for each, _ in self._targets]
                compared = self._load.run(base, target, stages)
                results.comparison = comparison_result(compared, self._load, names[1], names[0])
                results.notes += few_requests(compared)
                empty = True
            else:
                empty = all(step.drained for step in run_steps(target, self._load, stages))
            if not empty:
                results.notes.append(NOT_DRAINED)
