from math import comb, isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client.cli.bench.search.binomial import at_least, at_most


def exact(counts, trials, probability):
    return sum(comb(trials, i) * probability**i * (1 - probability) ** (trials - i) for i in counts)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.data())
def test_tails_are_the_sums_of_their_probabilities(trials, data):
    count = data.draw(st.integers(0, trials))
    probability = data.draw(st.floats(0.001, 0.999))
    assert isclose(at_most(count, trials, probability), exact(range(count + 1), trials, probability), abs_tol=1e-9)
    assert isclose(
        at_least(count, trials, probability), exact(range(count, trials + 1), trials, probability), abs_tol=1e-9
    )


@pytest.mark.parametrize("trials", [1e6, 1e8])
def test_large_samples_have_tails_too(trials):
    mean, deviation = 0.01 * trials, (0.01 * 0.99 * trials) ** 0.5
    assert at_least(mean + 2 * deviation, trials, 0.01) == pytest.approx(0.0228, rel=0.15)
    assert at_most(mean - 2 * deviation, trials, 0.01) == pytest.approx(0.0228, rel=0.15)


def test_counts_between_whole_ones_have_probabilities_between_theirs():
    assert at_least(4, 300, 0.01) < at_least(3.5, 300, 0.01) < at_least(3, 300, 0.01)


def test_no_violation_among_299_requests_shows_a_p99_at_95_percent():
    assert at_most(0, 299, 0.01) < 0.05 < at_most(0, 298, 0.01)
