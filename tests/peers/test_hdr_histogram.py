"""Histograms of tfs-bench against HdrHistogram."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client.cli.bench.histogram import LONGEST, Histogram

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_quantiles_and_means_are_those_of_hdrhistogram(spread):
    from hdrh.histogram import HdrHistogram

    values = np.random.default_rng(1).lognormal(np.log(5e6), spread, 50_000).astype(np.int64)
    values = np.clip(values, 1, LONGEST)
    theirs = HdrHistogram(1, LONGEST, 3)
    for value in values.tolist():
        theirs.record_value(value)
    ours = Histogram()
    ours.record_all(values / 1e9 + 1e-10)  # a tenth of a nanosecond, so that rounding loses none
    assert ours.count == theirs.get_total_count()
    assert ours.mean * 1e9 == pytest.approx(theirs.get_mean_value(), rel=1e-3)
    for percent in (1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100):
        expected = theirs.get_value_at_percentile(percent)
        assert ours.quantile(percent / 100) * 1e9 == pytest.approx(expected, rel=1 / 1024, abs=1), percent
    counted = [count for _, _, count in ours.buckets()]
    assert counted == [bar.count_added_in_this_iter_step for bar in theirs.get_recorded_iterator()]
