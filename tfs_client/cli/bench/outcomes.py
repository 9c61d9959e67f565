"""Outcomes: what a search or a comparison found, in the words and figures of the reports."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Literal

from tfs_client.cli.bench.compare.alternating import Compared, Comparison
from tfs_client.cli.bench.report import wording
from tfs_client.cli.bench.report.run_results import Change, ComparisonResult, KneeResult
from tfs_client.cli.bench.search.knee import Knee, KneeSearch

NAMES = {"median": "median latency", "p99": "p99 latency", "throughput": "throughput"}
WIDE = 0.2  # of an interval, from its lower limit to its upper one
FEW = 100  # requests; the p99 of fewer is the slowest of them


def knee_result(found: Knee, search: KneeSearch) -> KneeResult:
    """Return what a search found."""
    held, failed = found.held, found.failed
    sure_held, sure_failed = found.certain
    return KneeResult(
        over=found.over,
        bound=search.bound,
        quantile=search.quantile,
        held=None if held is None else held.load,
        failed=None if failed is None else failed.load,
        certain=(sure_held or None, sure_failed if isfinite(sure_failed) else None),
        exhausted=found.exhausted,
    )


def lengthened(found: Knee, search: KneeSearch) -> list[str]:
    """Return notes on stages that were planned longer than the options say."""
    notes = []
    stages = [tried.stage for tried in found.tried]
    if (longest := max(stage.seconds for stage in stages)) > search.seconds:
        notes.append(
            f"--duration {wording.duration(search.seconds)} was lengthened, up to {wording.duration(longest)}: a stage "
            "of a search takes 20 times the bound, and enough requests for the quantile"
        )
    if (longest := max(stage.warmup for stage in stages)) > search.warmup:
        notes.append(
            f"--warmup {wording.duration(search.warmup)} was lengthened to {wording.duration(longest)}: "
            "a warm-up of a search takes 3 times the bound"
        )
    return notes


def comparison_result(found: Compared, comparison: Comparison, base: str, target: str) -> ComparisonResult:
    """Return what a comparison found; ``base`` and ``target`` are names."""
    changes = tuple(
        Change(NAMES[each.metric], _unit(each.metric), each.base, each.candidate, each.change, each.low, each.high)
        for each in found.changes
    )
    main = replace(changes[0], decides=True)
    verdict = _verdict(found, main, comparison.tolerance, base, target)
    confidence = 1 - 2 * comparison.alarms
    return ComparisonResult(
        base, target, comparison.stage, found.pairs, (main, *changes[1:]), confidence, verdict, found.worse
    )


def few_requests(found: Compared) -> list[str]:
    """Return a note if blocks have too few requests for a p99."""
    fewest = min(found.base.answered, found.candidate.answered) / found.pairs
    if fewest >= FEW:
        return []
    return [
        f"a block has about {wording.counted(max(1, round(fewest)), 'answers')}; below {FEW}, the p99 of a block is "
        "its slowest answer: a longer --duration gives a p99"
    ]


def _verdict(found: Compared, main: Change, tolerance: float, base: str, target: str) -> str:
    limit = f" by more than {100 * tolerance:g} %" if tolerance else ""
    better = main.low > 0 if main.unit == "per second" else main.high < 0
    if found.slower:
        verdict = f"{target} is worse than {base}{limit}, by its {main.name}"
    elif better:
        verdict = f"{target} is certainly better than {base}, by its {main.name}"
    else:
        verdict = f"{target} is not certainly worse than {base}{limit}, by its {main.name}"
        if main.high - main.low > WIDE:
            verdict += "; the interval is wide: more --pairs or a longer --duration narrow it"
    if not found.failing:
        return verdict
    return f"{verdict}; {'' if found.slower else 'but '}more of its requests fail, get wrong answers or cannot be sent"


def _unit(metric: str) -> Literal["seconds", "per second"]:
    return "per second" if metric == "throughput" else "seconds"
