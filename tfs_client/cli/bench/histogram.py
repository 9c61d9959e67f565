"""Histogram: counts of durations in buckets of constant relative width, as HdrHistogram has them.

A bucket is at most a thousandth of its values wide (three significant digits), so a quantile is off by no more, and a
histogram takes the same memory for a thousand durations as for a billion. Histograms of several processes are added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tfs_client._codec.dtypes import Array

SUB = 2048  # buckets of width 1 from 0 on; after each doubling of the values, half as many of double the width
LONGEST = 3600 * 10**9  # nanoseconds


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - 11)
    return shift * (SUB // 2) + (value >> shift)


class Histogram:
    """Counts of durations, in nanoseconds."""

    __slots__ = ("counts", "longest", "shortest", "total")

    def __init__(self) -> None:
        self.counts: Array = np.zeros(_bucket(LONGEST) + 1, np.int64)
        self.total: int = 0  # exact sum of the durations, in nanoseconds
        self.shortest: int = LONGEST
        self.longest: int = 0

    def record(self, seconds: float) -> None:
        """Count a duration."""
        value = int(min(LONGEST, max(0.0, seconds * 1e9)))
        self.counts[_bucket(value)] += 1
        self.total += value
        if value < self.shortest:
            self.shortest = value
        if value > self.longest:
            self.longest = value

    def record_all(self, seconds: Array) -> None:
        """Count many durations. Raises ValueError if one is NaN."""
        if not seconds.size:
            return
        if np.isnan(seconds).any():
            raise ValueError("expected durations, got NaN")
        with np.errstate(over="ignore"):  # infinity counts as the longest
            values = np.clip(seconds * 1e9, 0, LONGEST).astype(np.int64)
        shifts = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - 11, 0)  # exact: below 2**53
        found = np.bincount(shifts * (SUB // 2) + (values >> shifts))
        self.counts[: len(found)] += found
        self.total += int(values.sum())
        self.shortest = min(self.shortest, int(values.min()))
        self.longest = max(self.longest, int(values.max()))

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self.counts += other.counts
        self.total += other.total
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)

    def __getstate__(self) -> tuple[Array, Array, int, int, int]:
        """Few buckets have counts, and histograms are sent between processes several times a second."""
        used = np.flatnonzero(self.counts)
        return used, self.counts[used], self.total, self.shortest, self.longest

    def __setstate__(self, state: tuple[Array, Array, int, int, int]) -> None:
        self.__init__()  # type: ignore[misc]
        used, counts, total, shortest, longest = state
        self.total, self.shortest, self.longest = total, shortest, longest
        self.counts[used] = counts

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean, in seconds; NaN without a duration."""
        return self.total / self.count / 1e9 if self.count else float("nan")

    def above(self, seconds: Sequence[float]) -> list[int]:
        """How many durations exceed each of the given ones, to the width of a bucket."""
        used = np.flatnonzero(self.counts)
        until = np.concatenate([[0], np.cumsum(self.counts[used])])
        marks = [_bucket(min(LONGEST, max(0, int(each * 1e9)))) for each in seconds]
        return [int(each) for each in until[-1] - until[np.searchsorted(used, marks, side="right")]]

    def quantile(self, share: float) -> float:
        """The duration, in seconds, that ``share`` (0 to 1) of the durations do not exceed; NaN without a duration."""
        count = self.count
        if not count:
            return float("nan")
        rank = max(1, int(np.ceil(share * count - 1e-9)))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(self.longest, max(self.shortest, _bounds(bucket)[1] - 1)) / 1e9

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """The start and the end, in seconds, and the count of each bucket that is not empty."""
        for bucket in np.flatnonzero(self.counts).tolist():
            low, high = _bounds(bucket)
            yield low / 1e9, high / 1e9, int(self.counts[bucket])


def _bounds(bucket: int) -> tuple[int, int]:
    """The first value of a bucket, and the first after it."""
    shift = max(0, bucket // (SUB // 2) - 1)
    low = (bucket - shift * (SUB // 2)) << shift
    return low, low + (1 << shift)
