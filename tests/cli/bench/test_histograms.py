"""Histograms of durations."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client.cli.bench.histogram import LONGEST, Histogram

SECONDS = st.lists(st.one_of(st.floats(0, 1e-5), st.floats(0, 10), st.floats(0, 5000)), min_size=1, max_size=60)


def histogram_of(values):
    histogram = Histogram()
    histogram.record_all(np.array(values, float))
    return histogram


def same(one, other):
    return np.array_equal(one.counts, other.counts) and (one.total, one.shortest, one.longest) == (
        other.total,
        other.shortest,
        other.longest,
    )


@settings(max_examples=25)
@given(SECONDS)
def test_durations_counted_together_are_those_counted_one_by_one(values):
    one = Histogram()
    for value in values:
        one.record(value)
    assert same(one, histogram_of(values))


@settings(max_examples=25)
@given(SECONDS, st.floats(0, 1))
def test_a_quantile_is_off_by_a_thousandth_at_most(values, share):
    histogram = histogram_of(values)
    rank = max(1, math.ceil(share * len(values) - 1e-9))
    exact = min(sorted(values)[rank - 1], LONGEST / 1e9)
    assert histogram.quantile(share) == pytest.approx(exact, rel=1e-3, abs=1e-9)
    assert histogram.count == len(values)


@settings(max_examples=15)
@given(SECONDS, SECONDS)
def test_added_histograms_are_one_of_all_durations(values, others):
    both = histogram_of(values)
    both.add(histogram_of(others))
    assert same(both, histogram_of(values + others))


@settings(max_examples=15)
@given(SECONDS)
def test_buckets_hold_their_durations(values):
    buckets = list(histogram_of(values).buckets())
    assert sum(count for _, _, count in buckets) == len(values)
    for low, high, count in buckets:
        inside = [value for value in values if low <= int(min(value * 1e9, LONGEST)) / 1e9 < high]
        assert len(inside) == count
        assert high - low <= max(1e-9, low / 1000) * (1 + 1e-6)


def test_a_pickled_histogram_is_small_and_the_same():
    histogram = histogram_of(np.random.default_rng(0).exponential(0.01, 10_000))
    pickled = pickle.dumps(histogram)
    assert len(pickled) < 100_000
    assert same(pickle.loads(pickled), histogram)


def test_durations_outside_of_the_range_are_counted_at_its_ends():
    histogram = histogram_of([-1.0, 1e9, 1e300, math.inf])
    assert (histogram.quantile(0.0), histogram.quantile(1.0), histogram.count) == (0.0, 3600.0, 4)
    one = Histogram()
    for value in (-1.0, 1e9, 1e300, math.inf):
        one.record(value)
    assert same(one, histogram)
    with pytest.raises(ValueError, match="NaN"):
        histogram_of([math.nan])


def test_an_empty_histogram_has_no_quantiles():
    assert math.isnan(Histogram().quantile(0.5))
    assert math.isnan(Histogram().mean)
    assert same(histogram_of([]), Histogram())
