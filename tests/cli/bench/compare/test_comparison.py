from dataclasses import replace

import pytest
from simulated_queue import SimulatedGenerator, exponential, fixed

from tfs_client.cli.bench.compare.alternating import Comparison
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage
from tfs_client.errors import ConfigError, UnavailableError

BLOCK = Stage(ClosedLoop(2), 0.5, warmup=0.1)


class Ordered(SimulatedGenerator):
    """Appends its name to a list at each stage."""

    def __init__(self, service, name, order):
        super().__init__(service)
        self.name, self.order = name, order

    def run(self, stage, progress=None, enough=None):
        self.order.append((self.name, stage))
        return super().run(stage, progress, enough)


class Failing(SimulatedGenerator):
    """Some of its requests fail, at once."""

    def __init__(self, share, code="UNAVAILABLE"):
        super().__init__(exponential(0.01), seed=5)
        self.share, self.code = share, code

    def run(self, stage, progress=None, enough=None):
        measured = super().run(stage, progress, enough)
        failed = int(self.share * measured.answered)
        if self.share == 1:
            failed, measured = measured.answered, Measured(seconds=measured.seconds, sent=measured.sent)
        measured.errors[self.code] += failed
        measured.samples[self.code] = "the server is down"
        return measured


def compared(base, candidate, **options):
    return Comparison(BLOCK, **options).run(base, candidate)


def test_equal_targets_are_not_worse():
    result = compared(SimulatedGenerator(exponential(0.01), seed=1), SimulatedGenerator(exponential(0.01), seed=2))
    assert not result.worse
    assert [each.metric for each in result.changes] == ["median", "p99", "throughput"]
    assert all(each.low < 0 < each.high for each in result.changes)
    assert result.pairs == 20


@pytest.mark.parametrize("metric", ["median", "p99", "throughput"])
@pytest.mark.parametrize(("tolerance", "worse"), [(0.1, True), (0.5, False)])
def test_a_slower_candidate_is_worse_beyond_the_tolerance(metric, tolerance, worse):
    base, candidate = SimulatedGenerator(fixed(0.01)), SimulatedGenerator(fixed(0.012))
    result = compared(base, candidate, metric=metric, tolerance=tolerance)
    main = result.changes[0]
    expected = 1 / 1.2 - 1 if metric == "throughput" else 0.2
    assert main.metric == metric
    assert main.change == pytest.approx(expected, abs=0.03)
    assert result.worse is worse


def test_a_faster_candidate_is_not_worse():
    result = compared(SimulatedGenerator(fixed(0.012)), SimulatedGenerator(fixed(0.01)))
    assert not result.worse
    assert result.changes[0].high < 0


def test_a_candidate_that_answers_fewer_requests_is_worse_although_it_is_fast():
    result = compared(SimulatedGenerator(exponential(0.02), seed=1), Failing(0.1))
    assert (result.slower, result.failing, result.worse) == (False, True, True)
    assert not compared(Failing(0.1), SimulatedGenerator(exponential(0.01), seed=5)).failing


def test_the_order_within_pairs_is_random_and_their_requests_are_the_same():
    order = []
    result = Comparison(BLOCK, pairs=24, seed=3).run(Ordered(fixed(0.01), "A", order), Ordered(fixed(0.01), "B", order))
    assert [name for name, _ in order[:2]] == ["A", "B"]
    pairs = list(zip(order[2::2], order[3::2], strict=True))
    assert all({first[0], second[0]} == {"A", "B"} for first, second in pairs)
    assert 5 < sum(first[0] == "A" for first, _ in pairs) < 19
    assert all(first[1] == second[1] == replace(BLOCK, seed=4 + pair) for pair, (first, second) in enumerate(pairs))
    again = []
    Comparison(BLOCK, pairs=24, seed=3).run(Ordered(fixed(0.01), "A", again), Ordered(fixed(0.01), "B", again))
    assert again == order
    assert result.base.answered == result.candidate.answered == pytest.approx(24 * 50, rel=0.05)  # without warm-up
    assert result.base.seconds == pytest.approx(12)
    assert result.base.throughput == pytest.approx(100, rel=0.05)


def test_a_target_without_an_answer_cannot_be_compared():
    with pytest.raises(UnavailableError, match=r"target, warm-up: none of .* answered.*: the server is down"):
        compared(SimulatedGenerator(fixed(0.01)), Failing(1))
    with pytest.raises(ConfigError, match=r"no request was answered within its block of 0\.5 s.*a longer --duration"):
        Comparison(Stage(OpenLoop(0.001), 0.5)).run(SimulatedGenerator(fixed(0.1)), SimulatedGenerator(fixed(0.1)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pairs": 4}, "pairs: expected at least 8, got 4"),
        ({"alarms": 1e-6}, "alarms: expected a larger share, or more pairs than 20, got 1e-06"),
        ({"alarms": 5}, "alarms: expected a share above 0, up to 0.5, got 5"),
        ({"tolerance": -1}, "tolerance: expected a share, 0 or more, got -1"),
        ({"metric": "mean"}, "metric: expected one of median, p99, throughput, got mean"),
        ({"stage": Stage(RecordedPace(), 1)}, "expected a rate or a concurrency, got a recording"),
    ],
)
def test_options_that_cannot_be_used(options, text):
    with pytest.raises(ConfigError, match=text):
        Comparison(**{"stage": BLOCK, **options})
