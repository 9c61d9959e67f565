from math import log
from statistics import median

import pytest
from simulated_queue import SimulatedGenerator, exponential, fixed

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.search.knee import KneeSearch
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop
from tfs_client.errors import ConfigError

MU = 200.0


class Seen:
    """A watcher that keeps what it sees."""

    def __init__(self):
        self.events = []

    def started(self, stage, label):
        self.events.append(("started", label))

    def ended(self, stage, label, measured, verdict):
        self.events.append(("ended", label, verdict))


def test_the_knee_of_a_queue_is_where_theory_has_it():
    # In M/M/1, the time in the system is exponential with the rate mu - lambda.
    theory = MU - log(10) / 0.05
    searches = [
        KneeSearch(bound=0.05, quantile=0.9, seconds=10, seed=seed).run(
            SimulatedGenerator(exponential(1 / MU), seed=seed)
        )
        for seed in range(3)
    ]
    loads = [each.held.load for each in searches]
    assert median(loads) == pytest.approx(theory, rel=0.1)
    for each in searches:
        assert each.held.verdict.held
        assert each.held.load < each.failed.load <= 1.05 * each.held.load
        low, high = each.certain
        assert low <= each.held.load
        assert high >= each.failed.load


def test_the_knee_of_several_servers_is_above_the_throughput_of_one_caller():
    # Four servers of 10 ms each at fixed distances: no request waits until 400 per second, and above, the queue grows.
    knee = KneeSearch(bound=0.05, arrivals="fixed", seconds=5).run(SimulatedGenerator(fixed(0.01), servers=4))
    assert knee.held.load == pytest.approx(400, rel=0.05)
    assert 400 < knee.failed.load <= 1.05 * knee.held.load


def test_the_knee_of_a_closed_loop_is_a_number_of_callers():
    # With n callers and one server, a request waits for n - 1 others.
    knee = KneeSearch(bound=0.055, over="concurrency", seconds=5).run(SimulatedGenerator(fixed(0.01)))
    assert (knee.held.load, knee.failed.load) == (5, 6)
    assert knee.held.stage.load == ClosedLoop(5)


def test_a_bound_below_the_latency_without_a_queue_has_no_knee():
    generator = SimulatedGenerator(fixed(0.01))
    knee = KneeSearch(bound=0.005).run(generator)
    assert knee.held is None
    assert knee.failed is None
    assert knee.certain == (0, float("inf"))
    assert [each.stage.load for each in knee.tried] == [ClosedLoop(1), ClosedLoop(1)]
    assert "took longer than 5.00 ms" in knee.tried[0].verdict.reason


def test_violations_by_chance_at_low_loads_do_not_end_a_search():
    class Unlucky(SimulatedGenerator):
        """Some requests of its first stages are late."""

        def run(self, stage, progress=None, enough=None):
            measured = super().run(stage, progress)
            measured.good -= 3 if len(self.stages) <= 2 else 0
            return measured

    knee = KneeSearch(bound=0.5, arrivals="fixed", seconds=5).run(Unlucky(fixed(0.1), servers=8))
    assert [each.verdict.held for each in knee.tried[:3]] == [False, False, True]
    assert knee.held.load == pytest.approx(80, rel=0.05)


class Stalling(SimulatedGenerator):
    """Stands still for a second in one of its stages."""

    def __init__(self, service, stage, **options):
        super().__init__(self.stalling, **options)
        self.steady, self.stalls_in = service, stage

    def stalling(self, random, count):
        services = self.steady(random, count)
        if len(self.stages) == self.stalls_in:
            services[count // 3 : count // 3 + self.servers] += 1.0
        return services


@pytest.mark.parametrize("stage", [2, 3])
def test_a_stall_in_one_stage_does_not_bound_the_knee(stage):
    generator = Stalling(fixed(0.01), stage, servers=4)
    knee = KneeSearch(bound=0.05, arrivals="fixed", seconds=5).run(generator)
    assert not knee.tried[stage - 1].verdict.held
    assert knee.held.load == pytest.approx(400, rel=0.05)
    assert 400 < knee.failed.load <= 1.05 * knee.held.load
    assert knee.certain[1] >= knee.failed.load


def test_a_failure_without_a_load_that_held_is_confirmed():
    knee = KneeSearch(bound=0.015, arrivals="fixed", seconds=2).run(SimulatedGenerator(fixed(0.02)))
    assert [each.load for each in knee.tried] == [0, 0]


def test_a_search_ends_at_the_highest_load():
    knee = KneeSearch(bound=1, over="concurrency", highest=6, seconds=5).run(SimulatedGenerator(fixed(0.01), servers=9))
    assert [each.load for each in knee.tried] == [0, 2, 4, 6]
    assert (knee.held.load, knee.failed) == (6, None)


def test_a_start_above_the_knee_is_halved_until_it_holds():
    knee = KneeSearch(bound=0.05, start=3200, arrivals="fixed", seconds=5).run(SimulatedGenerator(fixed(0.01)))
    assert [each.load for each in knee.tried[:7]] == [0, 3200, 1600, 800, 400, 200, 100]
    assert knee.held.load == pytest.approx(100, rel=0.05)


def test_every_stage_is_shown_and_has_another_seed():
    seen, generator = Seen(), SimulatedGenerator(fixed(0.01))
    knee = KneeSearch(bound=0.05, seconds=2, seed=7, precision=0.3).run(generator, seen)
    assert seen.events[:2] == [("started", "one caller"), ("ended", "one caller", str(knee.tried[0].verdict))]
    assert len(seen.events) == 2 * len(knee.tried)
    assert [each.stage.seed for each in knee.tried] == list(range(7, 7 + len(knee.tried)))


def test_a_server_is_drained_after_failed_requests():
    generator = SimulatedGenerator(exponential(1 / MU), deadline=0.3, seed=1)
    knee = KneeSearch(bound=0.1, quantile=0.9, seconds=4, start=1000, precision=0.3).run(generator)
    after_failures = [
        generator.stages[index + 1].load
        for index, stage in enumerate(generator.stages[:-1])
        if isinstance(stage.load, OpenLoop) and stage.load.rate > 1.2 * MU
    ]
    assert after_failures
    assert set(after_failures) == {ClosedLoop(1)}
    assert all(each.drained for each in knee.tried)


def test_slow_rates_last_until_the_quantile_can_be_seen():
    generator = SimulatedGenerator(fixed(0.5))
    knee = KneeSearch(bound=1.0, quantile=0.95, seconds=2, stages=2).run(generator)
    assert knee.exhausted
    stage = knee.tried[1].stage
    assert stage.seconds > 20 / stage.load.rate > 2


def test_a_noisy_search_ends_after_its_stages():
    class Random(SimulatedGenerator):
        def run(self, stage, progress=None, enough=None):
            measured = Measured(seconds=stage.seconds, sent=100, arrived=100)
            measured.latency.record(0.01)
            measured.good = 1 if stage.load == ClosedLoop(1) or self.random.random() < 0.5 else 0
            return measured

    for seed in range(20):
        knee = KneeSearch(bound=1, seed=seed, stages=20).run(Random(fixed(1), seed=seed))
        assert len(knee.tried) <= 20


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bound": 0}, "bound: expected seconds above 0, got 0"),
        ({"bound": float("nan")}, "bound: expected seconds above 0, got nan"),
        ({"bound": 1, "quantile": 99}, "quantile: expected a share between 0 and 1, got 99"),
        ({"bound": 1, "precision": 0}, "precision: expected a share between 0 and 1, got 0"),
        ({"bound": 1, "seconds": 0.5}, "seconds: expected at least 1 second, got 0.5"),
        ({"bound": 1, "over": "concurrency", "highest": 2.5}, "highest: expected a whole number of callers"),
        ({"bound": 1, "over": "concurrency", "highest": 0.5}, "1 or more, got 0.5"),
        ({"bound": 1, "start": 10, "highest": 5}, "start: expected a load up to the highest, got 10"),
    ],
)
def test_options_that_cannot_be_used(options, text):
    with pytest.raises(ConfigError, match=text):
        KneeSearch(**options)
