import itertools
from math import log

import numpy as np
import pytest
from simulated_queue import SimulatedGenerator, exponential, fixed

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.search.certainty import Judge, look_times
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage

MU = 200.0  # requests per second that the server can serve


def judged(generator, load, bound, quantile=0.99, seconds=20.0, warmup=1.0, overload=0.05):
    judge = Judge(bound, quantile, seconds, overload=overload)
    measured = generator.run(Stage(load, seconds, warmup, bound), enough=judge.enough)
    return judge.verdict(measured), measured


def measured_of(latencies, bound, service=None, **counts):
    measured = Measured(seconds=1.0, sent=len(latencies), **counts)
    measured.latency.record_all(np.array(latencies))
    measured.service.record_all(np.array(latencies if service is None else service))
    measured.good = sum(latency <= bound for latency in latencies) - measured.wrong
    return measured


def test_fast_answers_end_a_stage_early():
    verdict, measured = judged(SimulatedGenerator(fixed(0.001)), OpenLoop(400), bound=0.05)
    assert (verdict.held, verdict.certain, verdict.share) == (True, True, 0)
    assert measured.seconds < 10


def test_an_overload_ends_a_stage_early():
    verdict, measured = judged(SimulatedGenerator(exponential(1 / MU)), OpenLoop(1.5 * MU), bound=0.05)
    assert (verdict.held, verdict.certain) == (False, True)
    assert measured.seconds < 3
    assert "took longer than 50.0 ms" in verdict.reason


def test_too_few_requests_are_not_certain():
    verdict, measured = judged(SimulatedGenerator(fixed(0.001)), OpenLoop(5), bound=0.05)
    assert (verdict.held, verdict.certain) == (True, False)
    assert measured.seconds == 20


def test_a_queue_on_the_bound_seldom_seems_certain():
    # Its latencies depend on each other: as independent ones, they would be certain in every second run.
    bound = -log(0.1) / (MU - 0.8 * MU)
    wrong = sum(
        judged(SimulatedGenerator(exponential(1 / MU), seed=seed), OpenLoop(0.8 * MU), bound, 0.9, 8)[0].certain
        for seed in range(12)
    )
    assert wrong <= 1


def test_a_slow_overload_is_seen_by_its_trend():
    # 10 % too much: after ten seconds, the latency is 1 s, far from the bound of 30 s.
    generator = SimulatedGenerator(exponential(1 / MU), seed=1)
    verdict, measured = judged(generator, OpenLoop(1.1 * MU), bound=30.0)
    assert (verdict.held, verdict.share) == (False, 0)
    assert verdict.reason == "the latency grows steadily: the load is above the capacity"
    assert measured.seconds < 20


def test_a_server_that_stops_answering_violates_the_bound_at_once():
    judge = Judge(0.5, 0.99, 20)
    moments = [Measured(seconds=second / 4, sent=100 * second) for second in range(1, 20)]
    ended = next(each.seconds for each in moments if judge.enough(each))
    assert ended <= 2.25


def test_errors_and_wrong_and_unsent_requests_are_violations():
    fast = [0.01] * 100
    for counts, reason in (
        ({"errors": {"UNAVAILABLE": 3}}, "3 of 103 requests failed"),
        ({"unsent": 3}, "3 of 103 requests could not be sent"),
        ({"wrong": 3}, "3 of 100 requests had wrong answers"),
    ):
        measured = measured_of(fast, 0.05)
        measured.errors.update(counts.get("errors", {}))
        measured.unsent, measured.wrong = counts.get("unsent", 0), counts.get("wrong", 0)
        measured.good -= measured.wrong
        verdict = Judge(0.05, 0.99, 10).verdict(measured)
        assert (verdict.held, verdict.reason) == (False, reason)


def test_a_slow_load_generator_is_named():
    verdict = Judge(0.05, 0.99, 10).verdict(measured_of([0.2] * 100, 0.05, service=[0.01] * 100))
    assert not verdict.held
    assert verdict.reason.endswith("; the load generator, not the server, fell behind")


def test_a_stage_without_an_answer_fails():
    verdict = Judge(0.05, 0.99, 10).verdict(Measured(seconds=10.0))
    assert (verdict.held, verdict.certain) == (False, False)
    assert str(verdict) == "failed, not certain: no request was answered"


def test_closed_loops_have_no_overload():
    verdict, _ = judged(SimulatedGenerator(fixed(0.01)), ClosedLoop(4), 0.1, seconds=10.0, overload=None)
    assert verdict.held


@pytest.mark.parametrize("seconds", [1.0, 1.4, 30.0])
def test_the_last_look_is_at_the_end(seconds):
    times = look_times(seconds)
    assert times[-1] == seconds
    assert all(each >= 1 for each in times)
    assert all(after / before == pytest.approx(1.5) for before, after in itertools.pairwise(times))
