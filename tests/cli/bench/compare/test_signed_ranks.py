from itertools import product

import numpy as np
import pytest

from tfs_client.cli.bench.compare.signed_ranks import excluded, interval


@pytest.mark.parametrize("count", [4, 5, 8, 11])
@pytest.mark.parametrize("error", [0.005, 0.05, 0.2])
def test_the_limit_errs_as_often_as_the_signs_of_ranks_say(count, error):
    sums = [sum(rank for rank, sign in enumerate(signs, 1) if sign) for signs in product((0, 1), repeat=count)]
    left_out = excluded(count, error)
    assert sum(each < left_out for each in sums) / len(sums) <= error
    assert sum(each < left_out + 1 for each in sums) / len(sums) > error


def test_the_middle_is_the_median_of_the_means_of_two():
    low, middle, high = interval(np.array([1.0, 2.0, 3.0, 100.0, 2.5]), 0.05)
    assert (low, middle, high) == (1.0, 2.5, 100.0)


def test_too_few_pairs_have_no_limits():
    low, middle, high = interval(np.array([1.0, 2.0, 3.0]), 0.05)
    assert (low, middle, high) == (-np.inf, 2.0, np.inf)


def test_equal_targets_have_no_difference():
    assert [float(each) for each in interval(np.zeros(20), 0.05)] == [0, 0, 0]
