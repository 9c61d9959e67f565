import pytest

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.search.chosen_stages import run_steps
from tfs_client.cli.bench.search.draining import drained, latency_of_one
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage


class Scripted:
    """Answers each stage with one latency, or with an error for None."""

    def __init__(self, *latencies):
        self.latencies = list(latencies)
        self.loads = []

    def run(self, stage, progress=None, enough=None):
        self.loads.append(stage.load)
        latency = self.latencies.pop(0)
        measured = Measured(seconds=stage.seconds, sent=1)
        if latency is None:
            measured.errors["DEADLINE_EXCEEDED"] += 1
        else:
            measured.latency.record(latency)
        return measured

    def close(self):
        pass


def test_probes_continue_until_the_latency_is_normal():
    generator = Scripted(None, 0.9, 0.4, 0.011, 0.01)
    assert drained(generator, 0.01)
    assert generator.latencies == [0.01]
    assert set(generator.loads) == {ClosedLoop(1)}


def test_a_server_that_stays_slow_is_given_up():
    generator = Scripted(*[4.0] * 1000)
    assert not drained(generator, 0.01)
    assert 10 <= len(generator.loads) <= 100
    assert not drained(Scripted(), float("nan"))  # without a probe


def test_the_latency_of_one_caller_is_the_scale():
    assert latency_of_one(Scripted(0.02)) == pytest.approx(0.02, rel=0.001)


def test_steps_run_in_order_and_drain_after_failures_only():
    loads = [OpenLoop(10), OpenLoop(20), OpenLoop(30)]
    generator = Scripted(0.01, 0.01, None, 0.5, 0.01, 0.02)
    steps = run_steps(generator, [Stage(load, 1.0) for load in loads])
    assert generator.loads == [ClosedLoop(1), loads[0], loads[1], ClosedLoop(1), ClosedLoop(1), loads[2]]
    assert [step.stage.load for step in steps] == loads
    assert [step.measured.failed for step in steps] == [0, 1, 0]
    assert all(step.drained for step in steps)


def test_one_stage_runs_alone():
    generator = Scripted(0.01)
    run_steps(generator, [Stage(ClosedLoop(3), 1.0)])
    assert generator.loads == [ClosedLoop(3)]
