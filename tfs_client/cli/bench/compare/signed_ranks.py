"""Signed ranks: how far paired differences lie from zero, by Wilcoxon's test and the interval that belongs to it."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array


def interval(differences: Array, error: float) -> tuple[Array, Array, Array]:
    """The lower limit, the middle and the upper limit of the difference of pairs, along the last axis.

    The middle is the median of the means of any two differences, a difference and itself among them (Hodges and
    Lehmann). Each limit errs with at most the probability ``error``, if the differences are as likely to lie above
    their centre by some amount as below it; nothing else is assumed. With too few pairs for that, limits are infinite.
    """
    count = differences.shape[-1]
    one, other = np.triu_indices(count)
    means = np.sort((differences[..., one] + differences[..., other]) / 2, axis=-1)
    middle = np.median(means, axis=-1)
    left_out = excluded(count, error)
    if not left_out:
        return np.full_like(middle, -np.inf), middle, np.full_like(middle, np.inf)
    return means[..., left_out - 1], middle, means[..., -left_out]


def excluded(count: int, error: float) -> int:
    """How many of the means, from either end of their order, mark the limit.

    The means above zero are as many as the sum of the ranks of the differences above zero. Each rank belongs to it
    or not, as a fair coin falls: hence the exact distribution of the sum.
    """
    probabilities = np.ones(1)
    for rank in range(1, count + 1):
        longer = np.zeros(len(probabilities) + rank)
        longer[: len(probabilities)] += probabilities / 2
        longer[rank:] += probabilities / 2
        probabilities = longer
    return int(np.searchsorted(np.cumsum(probabilities), error, side="right"))
