"""A thousand comparisons of simulated targets, on machines that do not stand still."""

import numpy as np
import pytest

from tfs_client.cli.bench.compare.alternating import Comparison
from tfs_client.cli.bench.compare.signed_ranks import interval
from tfs_client.cli.bench.stages import ClosedLoop, Stage

RUNS = 1000
DEFAULT = Comparison(Stage(ClosedLoop(1), 1.0))


def autoregressive(random, blocks):
    """Slow changes that pass: neighbouring blocks correlate by 0.9."""
    drift = random.normal(size=(RUNS, blocks))
    drift[:, 0] /= np.sqrt(1 - 0.9**2)
    for block in range(1, blocks):
        drift[:, block] += 0.9 * drift[:, block - 1]
    return 0.03 * drift


def wandering(random, blocks):
    """Changes that stay."""
    return 0.03 * np.cumsum(random.normal(size=(RUNS, blocks)), axis=1)


def heavy_tailed(random, blocks):
    """Some blocks are disturbed by orders of magnitude: the variance is infinite."""
    return 0.02 * random.standard_t(1.5, size=(RUNS, blocks))


def steady(random, blocks):
    """A machine that becomes 60 % slower during the run."""
    return np.broadcast_to(np.linspace(0, 0.5, blocks), (RUNS, blocks))


MACHINES = [autoregressive, wandering, heavy_tailed, steady]


def lower_limits(machine, slower, seed):
    """The lower limit of the change in each run, with a candidate that is ``slower`` times as slow."""
    random = np.random.default_rng(seed)
    blocks = 2 * DEFAULT.pairs
    logs = machine(random, blocks) + 0.04 * random.normal(size=(RUNS, blocks))
    logs += (random.random((RUNS, blocks)) < 0.05) * random.exponential(0.5, (RUNS, blocks))  # a stall in a block
    base_first = random.random((RUNS, DEFAULT.pairs)) < 0.5
    first, second = logs[:, 0::2], logs[:, 1::2]
    differences = np.where(base_first, second - first, first - second) + np.log(slower)
    return interval(differences, DEFAULT.alarms)[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_equal_targets_raise_an_alarm_as_often_as_they_may(machine):
    alarms = np.mean(lower_limits(machine, 1.0, seed=17) > 0)
    assert 0.03 <= alarms <= 0.07


@pytest.mark.parametrize("machine", MACHINES)
def test_a_target_that_is_a_tenth_slower_is_found(machine):
    assert np.mean(lower_limits(machine, 1.1, seed=17) > 0) > 0.9


def test_a_tolerance_as_large_as_the_change_keeps_the_level():
    assert np.mean(lower_limits(autoregressive, 1.1, seed=17) > np.log(1.1)) <= 0.07
