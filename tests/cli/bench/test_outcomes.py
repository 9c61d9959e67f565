"""The words for what a search or a comparison found."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client.cli.bench.compare.alternating import Change, Compared, Comparison
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.outcomes import comparison_result, few_requests, lengthened
from tfs_client.cli.bench.search.certainty import Verdict
from tfs_client.cli.bench.search.knee import Knee, KneeSearch, Tried
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage

BLOCK = Stage(ClosedLoop(4), 1.0)


def compared(low: float, high: float, *, metric="median", slower=False, failing=False, answers=1000) -> Compared:
    base, target = Measured(), Measured()
    for each in (base, target):
        each.latency.record_all(np.full(answers, 0.01))
    return Compared((Change(metric, 1.0, 1.0, 0.0, low, high),), slower, failing, base, target, 8)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (compared(0.1, 0.2, slower=True), "new is worse than old by more than 5 %, by its median latency"),
        (compared(-0.2, -0.1), "new is certainly better than old, by its median latency"),
        (compared(0.1, 0.2, metric="throughput"), "new is certainly better than old, by its throughput"),
        (compared(-0.1, 0.04), "new is not certainly worse than old by more than 5 %, by its median latency"),
        (compared(-0.48, 0.78), "latency; the interval is wide: more --pairs or a longer --duration narrow it"),
        (compared(-0.2, -0.1, failing=True), "; but more of its requests fail, get wrong answers or cannot be sent"),
    ],
)
def test_a_verdict_says_which_of_the_two_is_better_and_how_sure_that_is(found: Compared, said: str) -> None:
    result = comparison_result(found, Comparison(BLOCK, tolerance=0.05), "old", "new")
    assert result.verdict.endswith(said)
    assert (result.base, result.target, result.block, result.pairs) == ("old", "new", BLOCK, 8)


def test_a_p99_of_few_requests_is_noted() -> None:
    assert few_requests(compared(0, 0, answers=800)) == []
    (note,) = few_requests(compared(0, 0, answers=792))
    assert "about 99 answers; below 100, the p99 of a block is its slowest answer" in note


def test_lengthened_stages_of_a_search_are_noted() -> None:
    def notes(bound: float, *stages: Stage) -> list[str]:
        tried = tuple(Tried(0.0, stage, Measured(), Verdict(True, True, 0.0)) for stage in stages)
        return lengthened(Knee("rate", tried), KneeSearch(bound, seconds=5.0, warmup=1.0))

    assert notes(0.01, Stage(ClosedLoop(1), 3.0, 1.0), Stage(OpenLoop(50), 5.0, 1.0)) == []
    duration, warmup = notes(0.5, Stage(ClosedLoop(1), 3.0, 1.0), Stage(OpenLoop(10), 15.0, 1.5))
    assert duration.startswith("--duration 5.00 s was lengthened, up to 15.0 s")
    assert warmup.startswith("--warmup 1.00 s was lengthened to 1.50 s")


@pytest.mark.parametrize(
    ("held", "certain", "said"),
    [(False, True, "failed: late"), (False, False, "failed, not certain: late"), (True, False, "held, not certain")],
)
def test_a_verdict_that_is_not_certain_says_so(held: bool, certain: bool, said: str) -> None:
    assert str(Verdict(held, certain, 0.5, "" if held else "late")) == said
