"""Slices: latencies by the time of their requests, to show how a stage went.

Memory does not grow with the length of a stage: when it has more than MOST slices, each becomes twice as long.
Latencies are counted in buckets of an eighth of an octave, so a quantile of a slice is off by less than 5 %.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfs_client._codec.dtypes import Array

MOST = 120
FIRST = 1.0  # seconds of a slice at first
PER_OCTAVE = 8
BUCKETS = 32 * PER_OCTAVE  # from a microsecond to more than an hour
SHORTEST = 1e-6  # seconds


class Slices:
    """Counts of latencies in each slice of a stage.

    Attributes:
        width: seconds of a slice; a power of two.
        counts: one row of buckets for each slice.
    """

    __slots__ = ("counts", "width")

    def __init__(self) -> None:
        self.width: float = FIRST
        self.counts: Array = np.zeros((0, BUCKETS), np.int64)

    def __getstate__(self) -> tuple[float, int, Array, Array]:
        """Few buckets have counts, and slices are sent between processes several times a second."""
        used = np.flatnonzero(self.counts)
        return self.width, len(self.counts), used, self.counts.flat[used]

    def __setstate__(self, state: tuple[float, int, Array, Array]) -> None:
        self.width, rows, used, counts = state
        self.counts = np.zeros((rows, BUCKETS), np.int64)
        self.counts.flat[used] = counts

    def record(self, starts: Array, seconds: Array) -> None:
        """Count latencies, as arrays of float64.

        Args:
            starts: when the requests were meant to start, in seconds after the beginning of the measured time.
            seconds: their latencies.
        """
        if not len(starts):
            return
        places = np.maximum(starts, 0.0)
        self._fit(float(places.max()))
        rows = (places / self.width).astype(np.int64)
        octaves = np.log2(np.maximum(seconds, SHORTEST) / SHORTEST)
        columns = np.minimum((octaves * PER_OCTAVE).astype(np.int64), BUCKETS - 1)
        np.add.at(self.counts, (rows, columns), 1)

    def add(self, other: Slices) -> None:
        """Add the counts of another process for the same time."""
        width = max(self.width, other.width)
        self._widen(width)
        theirs = _merged(other.counts, round(width / other.width))
        self._grow(len(theirs))
        self.counts[: len(theirs)] += theirs

    def rows(self) -> Iterator[tuple[float, int, float, float]]:
        """The start in seconds, the answers, and the median and the 99th percentile in seconds of each slice.

        The percentiles are NaN for a slice without answers.
        """
        for number, row in enumerate(self.counts):
            yield number * self.width, int(row.sum()), _quantile(row, 0.5), _quantile(row, 0.99)

    def _fit(self, start: float) -> None:
        """Make a slice for a start, in seconds."""
        width = self.width
        while start >= width * MOST:
            width *= 2
        self._widen(width)
        self._grow(int(start / width) + 1)

    def _widen(self, width: float) -> None:
        self.counts = _merged(self.counts, round(width / self.width))
        self.width = width

    def _grow(self, slices: int) -> None:
        missing = slices - len(self.counts)
        if missing > 0:
            self.counts = np.concatenate([self.counts, np.zeros((missing, BUCKETS), np.int64)])


def _merged(counts: Array, together: int) -> Array:
    """Add the counts of so many neighbours."""
    if together == 1:
        return counts
    return np.add.reduceat(counts, np.arange(0, len(counts), together)) if len(counts) else counts


def _quantile(row: Array, share: float) -> float:
    """The middle of the bucket with this quantile, in seconds; NaN without a latency."""
    count = int(row.sum())
    if not count:
        return float("nan")
    rank = max(1, int(np.ceil(share * count - 1e-9)))
    bucket = int(np.searchsorted(np.cumsum(row), rank))
    return float(SHORTEST * 2 ** ((bucket + 0.5) / PER_OCTAVE))
