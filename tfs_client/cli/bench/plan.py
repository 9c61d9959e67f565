"""The load that the options ask for: stages, a search, or a comparison."""

from __future__ import annotations

from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.compare.alternating import Comparison
from tfs_client.cli.bench.query_sources.predictions import PredictQueries
from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQueries
from tfs_client.cli.bench.search.knee import KneeSearch
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage
from tfs_client.errors import ConfigError

DURATION, WARMUP = 10.0, 1.0  # seconds
BLOCK, BLOCK_WARMUP = 1.0, 0.2  # of a comparison
SPARE = 1.0  # seconds after the last request of a recording


def stages(options: BenchOptions, queries: PredictQueries | RecordedQueries) -> list[Stage]:
    """Return the stages of a run. Raises ConfigError for a pace without times."""
    if options.pace is not None:
        return [_recorded(options, options.pace, queries)]
    return [_stage(options, load, DURATION, WARMUP) for load in _loads(options)]


def knee_search(options: BenchOptions) -> KneeSearch:
    """Return the search for the knee. Raises ConfigError."""
    assert options.bound is not None
    assert options.find_knee is not None
    given = {
        "quantile": options.quantile,
        "precision": options.precision,
        "highest": options.highest,
        "stages": options.max_stages,
        "arrivals": options.arrivals,
        "seconds": options.duration,
        "warmup": options.warmup,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return KneeSearch(options.bound, over=options.find_knee, seed=options.seed, **chosen)  # type: ignore[arg-type]


def comparison(options: BenchOptions) -> Comparison:
    """Return the comparison of two targets. Raises ConfigError."""
    stage = _stage(options, _loads(options)[0], BLOCK, BLOCK_WARMUP)
    given = {"metric": options.metric, "pairs": options.pairs, "tolerance": options.tolerance}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Comparison(stage, seed=options.seed, **chosen)  # type: ignore[arg-type]


def _loads(options: BenchOptions) -> list[ClosedLoop | OpenLoop]:
    arrivals = options.arrivals or "poisson"
    if options.ramp is not None:
        begin, end = options.ramp
        return [OpenLoop(begin, arrivals, end_rate=end)]
    if options.rate is not None:
        return [OpenLoop(rate, arrivals) for rate in options.rate]
    return [ClosedLoop(concurrency) for concurrency in options.concurrency or (1,)]


def _stage(options: BenchOptions, load: ClosedLoop | OpenLoop, seconds: float, warmup: float) -> Stage:
    seconds = seconds if options.duration is None else options.duration
    warmup = warmup if options.warmup is None else options.warmup
    return Stage(load, seconds, warmup, options.bound, options.seed)


def _recorded(options: BenchOptions, pace: float, queries: PredictQueries | RecordedQueries) -> Stage:
    assert isinstance(queries, RecordedQueries)
    if not queries.timed:
        raise ConfigError(
            f"--pace needs the times of the calls, and {options.recording!r} has none, like a warmup file: "
            "--rate R or --concurrency N send its requests without them"
        )
    seconds = queries.span / pace + SPARE if options.duration is None else options.duration
    return Stage(RecordedPace(pace), seconds, options.warmup or 0.0, options.bound, options.seed)
