"""Numbers and loads as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, isnan

from tfs_client import _printable
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.run_results import Change, ComparisonResult, KneeResult, StageResult
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage

NOTHING = "-"
BACKLOG = 0.1  # of the measured time


def duration(seconds: float) -> str:
    """Return a duration in a suitable unit, with three digits; "-" for NaN."""
    if not isfinite(seconds):
        return NOTHING if isnan(seconds) else "unlimited"
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if abs(seconds * factor) < 999.5:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds)} s"


def number(value: float) -> str:
    """Return a count or a rate, with at least three digits; "-" for NaN."""
    if isnan(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else _three_digits(value)


def counted(count: int, things: str) -> str:
    """Return a count with what it counts, in the plural unless it is 1."""
    return _printable.counted(1, things) if count == 1 else f"{number(count)} {things}"


def percent(share: float) -> str:
    """Return a change in percent, with its sign; "-" for NaN."""
    return NOTHING if isnan(share) else f"{100 * share:+.1f} %"


def quantile_name(share: float) -> str:
    """Return the usual name of a quantile: p50 for 0.5."""
    return f"p{round(100 * share, 6):g}"


def load(stage: Stage) -> str:
    """Return what a stage applies."""
    applied = stage.load
    if isinstance(applied, ClosedLoop):
        return f"{applied.concurrency} in flight"
    if isinstance(applied, RecordedPace):
        return "recorded pace" if applied.factor == 1 else f"recorded pace x {applied.factor:g}"
    rate = number(applied.rate) if applied.end_rate is None else f"{number(applied.rate)} to {number(applied.end_rate)}"
    return f"{rate}/s{' fixed' if applied.arrivals == 'fixed' else ''}"


def size_of(stage: Stage) -> float | None:
    """The load as a number: requests in flight or per second; None if it is not constant."""
    applied = stage.load
    if isinstance(applied, ClosedLoop):
        return float(applied.concurrency)
    return applied.rate if isinstance(applied, OpenLoop) and applied.end_rate is None else None


def knee(found: KneeResult) -> str:
    """Return the result of a search in a sentence."""
    unit = "/s" if found.over == "rate" else " in flight"
    limit = f"{quantile_name(found.quantile)} within {duration(found.bound)}"
    if found.held is None:
        tried = "" if found.failed is None else f"; the lowest that failed: {number(found.failed)}{unit}"
        return f"knee: no load kept {limit}{tried}"
    above = f"{number(found.failed)}{unit} failed" if found.failed is not None else "no load failed, it may be higher"
    doubts = "; ".join(_doubts(found, unit))
    early = "; the search ended before it reached its precision" if found.exhausted else ""
    return f"knee: {number(found.held)}{unit} keeps {limit}; {above}{f' ({doubts})' if doubts else ''}{early}"


def _doubts(found: KneeResult, unit: str) -> Iterator[str]:
    """What is not certain about a knee."""
    held, failed = found.certain
    if found.failed is not None and failed is None:
        yield "no load failed with certainty"
    elif failed is not None and failed != found.failed:
        yield f"certain only from {number(failed)}{unit}"
    if held is None:
        yield "no load held with certainty"
    elif held != found.held:
        yield f"the highest that held with certainty: {number(held)}{unit}"


def compared(found: ComparisonResult) -> list[str]:
    """Return what a comparison compares, and how, in lines."""
    blocks = f"{counted(found.pairs, 'pairs')} of blocks of {duration(found.block.seconds)}"
    return [f"base: {found.base}", f"target: {found.target}", f"load: {load(found.block)}, {blocks}"]


def columns(found: ComparisonResult) -> str:
    """Return what the columns of a comparison mean."""
    return (
        "BASE and TARGET: medians over the blocks. CHANGE: estimated from the pairs of blocks, so it may differ from "
        f"the ratio of the two. FROM and TO: its {100 * found.confidence:g} % confidence interval."
    )


def is_backlogged(measured: Measured) -> bool:
    """Whether the warm-up was an overload already, and answers to its requests fill a part of the measured time."""
    offered = measured.sent + measured.unsent
    return measured.backlog > BACKLOG * measured.seconds and measured.arrived < (1 - BACKLOG) * offered


def backlog(result: StageResult) -> str:
    """Return what the backlog of a warm-up means for a stage."""
    measured = result.measured
    return (
        f"the load {load(result.stage)} is more than the server answers: requests of the warm-up were answered until "
        f"{duration(measured.backlog)} of the measured {duration(measured.seconds)}; ANSWERS/S counts them, and the "
        "latencies show a growing queue: use a lower load"
    )


def empty(result: StageResult) -> str:
    """Return why a stage has no figures."""
    why = (
        "requests of the warm-up were under way until its end"
        if isinstance(result.stage.load, ClosedLoop)
        else "none was due"
    )
    return (
        f"no request of the stage {load(result.stage)} was meant to start within the measured "
        f"{duration(result.measured.seconds)}: {why}; use a longer --duration"
    )


def value(change: Change, of: float) -> str:
    """Return a figure of a comparison with its unit."""
    return duration(of) if change.unit == "seconds" else f"{number(of)}/s"


def _three_digits(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
