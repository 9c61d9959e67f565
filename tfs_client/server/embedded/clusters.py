"""Clustering of a picture's colours: k-means over a histogram, with deterministic seeds."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array

CLUSTERS = 10
ROUNDS = 10
BIN = 6.0  # edge of a cell of Lab space; the colours within a cell are clustered as one
NEAR = 8.0  # a colour closer than this to a seed is a shade of it, and does not become a seed


def clustered(pixels: Array) -> Array:
    """Return the number of each pixel's cluster (height, width), for Lab colours (height, width, 3)."""
    means, counts, cells = histogram(pixels.reshape(-1, 3))
    centres = seeds(means, counts)
    for _ in range(ROUNDS):
        centres = moved(centres, means, counts)
    return np.asarray(distances(means, centres).argmin(axis=1)[cells].reshape(pixels.shape[:2]))


def histogram(colors: Array) -> tuple[Array, Array, Array]:
    """Return mean colour and pixel count of each occupied cell of Lab space, and the cell of each pixel."""
    steps = np.floor(colors / BIN).astype(np.int64) + 64
    codes = (steps[:, 0] * 128 + steps[:, 1]) * 128 + steps[:, 2]
    _, cells, counts = np.unique(codes, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(cells, axis) for axis in colors.T], axis=1)
    return sums / counts[:, None], counts, cells


def seeds(means: Array, counts: Array) -> Array:
    """Choose at most CLUSTERS colours, common and far apart: the most common, then the best of the rest, one by one."""
    chosen = [int(counts.argmax())]
    gap = distances(means, means[chosen])[:, 0]
    while len(chosen) < CLUSTERS and gap.max() > NEAR**2:
        # The root keeps large areas of slowly changing colour from taking every seed.
        chosen.append(int(np.where(gap > NEAR**2, np.sqrt(counts) * gap, 0).argmax()))
        gap = np.minimum(gap, distances(means, means[chosen[-1:]])[:, 0])
    return np.asarray(means[chosen])


def moved(centres: Array, means: Array, counts: Array) -> Array:
    """Do one round of k-means: move each centre to the mean of the colours that are closest to it."""
    member = distances(means, centres).argmin(axis=1)
    mass = np.bincount(member, counts, len(centres))[:, None]
    sums = np.stack([np.bincount(member, counts * axis, len(centres)) for axis in means.T], axis=1)
    return np.asarray(np.where(mass > 0, sums / np.maximum(mass, 1), centres))


def distances(colors: Array, centres: Array) -> Array:
    """Return squared distances (colours, centres)."""
    return np.asarray(((colors[:, None] - centres[None]) ** 2).sum(axis=2))
