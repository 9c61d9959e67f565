"""Medians, quartiles, and ratios with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Groups = Sequence[Sequence[float]]
"""Times by connection: two connections to one server differ for as long as they last."""

RESAMPLES = 400
FEWEST = 8  # connections for an interval: with two, half of the 95 % intervals miss the ratio


def quartiles(groups: Groups) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile of all values."""
    low, middle, high = np.percentile(_joined(groups), (25, 50, 75)).tolist()
    return low, middle, high


def percentile(groups: Groups, share: float) -> float:
    """A percentile of all values."""
    return float(np.percentile(_joined(groups), share))


def ratio(own: Groups, base: Groups) -> dict[str, Any]:
    """The ratio of two medians, and its 95 % bootstrap interval; None from few connections, and for the base itself.

    Connections are drawn first, then calls of each, so that the interval includes what differs between connections.
    Both clients draw the same connections: the calls of a pair alternated.
    """
    found: dict[str, Any] = {"ratio": float(np.median(_joined(own)) / np.median(_joined(base)))}
    enough = own is not base and len(own) >= FEWEST
    return found | {"interval": _interval(own, base) if enough else None}


def _interval(own: Groups, base: Groups) -> list[float]:
    generator = np.random.default_rng(0)
    pairs = [(np.asarray(one, float), np.asarray(other, float)) for one, other in zip(own, base, strict=True)]
    found = []
    for _ in range(RESAMPLES):
        drawn = [pairs[index] for index in generator.integers(0, len(pairs), len(pairs))]
        medians = [
            np.median(
                np.concatenate([pair[side][generator.integers(0, len(pair[side]), len(pair[side]))] for pair in drawn])
            )
            for side in (0, 1)
        ]
        found.append(medians[0] / medians[1])
    low, high = np.percentile(found, (2.5, 97.5)).tolist()
    return [low, high]


def _joined(groups: Groups) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(group, float) for group in groups])
