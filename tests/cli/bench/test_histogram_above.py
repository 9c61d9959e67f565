import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client.cli.bench.histogram import Histogram


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), max_size=50), st.lists(st.floats(0, 4000), min_size=1, max_size=5))
def test_counts_above_some_durations(durations, marks):
    histogram = Histogram()
    histogram.record_all(np.array(durations))
    for mark, found in zip(marks, histogram.above(marks), strict=True):
        # The bucket of the mark, a thousandth wide, may go either way.
        assert sum(each > mark * 1.001 + 1e-8 for each in durations) <= found
        assert found <= sum(each > mark * 0.999 - 1e-8 for each in durations)
