"""Connected components: the patches of a mask, found by its runs, in time that grows with the number of pixels."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array


def labelled(mask: Array) -> Array:
    """Number the patches of a mask (height, width) that are connected along edges, from 1: int32; 0 outside."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), bool)
    padded[:, 1:-1] = mask
    # A row has width + 1 places where a run may start or end, so that runs of different rows never meet.
    changes = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    starts, ends = changes[::2], changes[1::2]
    numbers = _numbers(len(starts), *_touching(starts, ends, width + 1))
    steps = np.zeros(height * (width + 1), np.int32)
    steps[starts] = numbers
    steps[ends] = -numbers
    labels: Array = np.cumsum(steps, dtype=np.int32).reshape(height, width + 1)[:, :width]
    return labels


def _touching(starts: Array, ends: Array, row: int) -> tuple[Array, Array]:
    """Return the pairs of runs that touch: one run in a row, and one in the row above."""
    first = np.searchsorted(ends, starts - row, side="right")
    counts = np.maximum(np.searchsorted(starts, ends - row, side="left") - first, 0)
    lower = np.repeat(np.arange(len(starts)), counts)
    return lower, np.arange(len(lower)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)


def _numbers(count: int, one: Array, other: Array) -> Array:
    """Return the number of each run's patch, from 1, for the pairs of runs that touch."""
    roots = np.arange(count)
    while True:
        left, right = roots[one], roots[other]
        apart = left != right
        if not apart.any():
            return np.asarray(np.unique(roots, return_inverse=True)[1].reshape(-1) + 1, np.int32)
        one, other = one[apart], other[apart]
        left, right = left[apart], right[apart]
        # The least neighbour wins, so that a root with many neighbours joins all of them in two rounds.
        np.minimum.at(roots, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := roots[roots], roots):
            roots = above
