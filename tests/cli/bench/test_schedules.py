"""When requests are meant to start."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from simulated_time import Server, SimulatedQuery

from tfs_client import ConfigError
from tfs_client.cli.bench.schedules import Schedule, Share, in_turn, schedule
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage

SERVER = Server(lambda: 0.0)
ALL = Share()
ONE = [SimulatedQuery(SERVER)]


def starts(stage, queries=ONE, share=ALL):
    plan = schedule(stage, queries, share)
    found = []
    while plan.due < math.inf:
        found.append(plan.take())
    return np.array(found)


def test_a_fixed_rate_has_equal_distances_and_starts_with_the_measured_time():
    found = starts(Stage(OpenLoop(100.0, "fixed"), seconds=2.0, warmup=0.5))
    assert found[0] == -0.5
    assert 0.0 in found
    assert np.count_nonzero(found >= 0) == 200
    np.testing.assert_allclose(np.diff(found), 0.01)


@pytest.mark.parametrize("warmup", [0.0, 0.333])
def test_processes_take_turns_at_a_fixed_rate(warmup):
    stage = Stage(OpenLoop(70.0, "fixed"), seconds=1.7, warmup=warmup)
    parts = [starts(stage, share=Share(index, 3)) for index in range(3)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), starts(stage))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_distances_of_a_poisson_process_are_exponential():
    gaps = np.diff(starts(Stage(OpenLoop(1000.0), seconds=20.0, warmup=1.0, seed=3)))
    count = len(gaps)
    assert count == pytest.approx(21000, rel=0.03)
    assert gaps.mean() == pytest.approx(0.001, rel=0.03)
    assert gaps.var() == pytest.approx(1e-6, rel=0.05)
    expected = 1 - np.exp(-np.sort(gaps) * 1000)
    distance = np.max(np.abs(expected - np.arange(count) / count))
    assert distance < 1.63 / math.sqrt(count)  # Kolmogorov and Smirnov, at 1 %
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 3 / math.sqrt(count)


def test_the_streams_of_processes_are_independent_and_add_up():
    stage = Stage(OpenLoop(1000.0), seconds=10.0, seed=1)
    parts = [starts(stage, share=Share(index, 4)) for index in range(4)]
    assert [len(part) / 2500 for part in parts] == pytest.approx([1.0] * 4, rel=0.05)
    gaps = np.diff(np.sort(np.concatenate(parts)))
    expected = 1 - np.exp(-np.sort(gaps) * 1000)
    assert np.max(np.abs(expected - np.arange(len(gaps)) / len(gaps))) < 1.63 / math.sqrt(len(gaps))


def test_a_seed_gives_the_same_starts_again_and_another_gives_others():
    def seeded(seed):
        return starts(Stage(OpenLoop(200.0), seconds=1.0, seed=seed)).tolist()

    assert seeded(4) == seeded(4)
    assert seeded(4) != seeded(5)


@pytest.mark.parametrize("arrivals", ["fixed", "poisson"])
@pytest.mark.parametrize(("first", "last"), [(0.0, 2000.0), (2000.0, 0.0), (500.0, 1500.0)])
def test_a_ramp_changes_its_rate_evenly(arrivals, first, last):
    found = starts(Stage(OpenLoop(first, arrivals, last), seconds=8.0, warmup=1.0, seed=2))
    assert np.count_nonzero(found < 0) == pytest.approx(first, rel=0.1)
    measured = found[found >= 0]
    assert len(measured) == pytest.approx(8000, rel=0.04)
    half = np.count_nonzero(measured < 4.0)
    assert half == pytest.approx((3 * first + last) / 4 * 4, rel=0.06)


def test_the_rest_counts_what_was_not_taken_within_the_measured_time():
    for arrivals in ("fixed", "poisson"):
        stage = Stage(OpenLoop(9000.0, arrivals), seconds=2.0, warmup=0.5)
        plan = schedule(stage, ONE, Share())
        taken = [plan.take() for _ in range(6000)]
        counted = sum(time >= 0 for time in taken)
        everything = starts(stage)
        assert plan.rest(1.5) == np.count_nonzero((everything >= 0) & (everything < 1.5)) - counted
        assert plan.due == math.inf
    assert Schedule(iter([])).rest(1.0) == 0


def test_a_recording_keeps_its_order_and_its_pace():
    queries = [SimulatedQuery(SERVER, at=at) for at in (0.0, 3.0, 1.0, 2.0)]
    stage = Stage(RecordedPace(2.0), seconds=10.0, warmup=0.5)
    assert starts(stage, queries).tolist() == [-0.5, 0.0, 0.5, 1.0]
    assert [query.at for query in in_turn(stage, queries, Share())] == [0.0, 1.0, 2.0, 3.0]
    assert [query.at for query in in_turn(stage, queries, Share(1, 2))] == [1.0, 3.0]
    assert starts(stage, queries, Share(1, 2)).tolist() == [0.0, 1.0]


def test_processes_send_every_query_equally_often():
    queries = [SimulatedQuery(SERVER, rows=number) for number in range(5)]
    stage = Stage(ClosedLoop(1), seconds=1.0, seed=7)
    sent = [query.rows for index in range(2) for query in islice(in_turn(stage, queries, Share(index, 2)), 10)]
    assert sorted(sent) == sorted(list(range(5)) * 4)


def test_loads_that_cannot_be_applied_are_refused():
    for load in (
        lambda: ClosedLoop(0),
        lambda: OpenLoop(0.0),
        lambda: OpenLoop(-1.0, end_rate=1.0),
        lambda: OpenLoop(math.nan),
        lambda: OpenLoop(1e7),
        lambda: OpenLoop(1.0, "uniform"),
        lambda: RecordedPace(0.0),
        lambda: Stage(ClosedLoop(1), seconds=0.0),
        lambda: Stage(ClosedLoop(1), seconds=math.inf),
        lambda: Stage(ClosedLoop(1), seconds=1.0, warmup=-1.0),
        lambda: Stage(ClosedLoop(1), seconds=1.0, bound=0.0),
    ):
        with pytest.raises(ConfigError, match=r"expected .*, got "):
            load()
    with pytest.raises(ConfigError, match="no time"):
        in_turn(Stage(RecordedPace(), seconds=1.0), ONE, Share())
    with pytest.raises(ConfigError, match="at least one query"):
        in_turn(Stage(ClosedLoop(1), seconds=1.0), [], Share())
