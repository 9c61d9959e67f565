"""Regions: areas of a picture within which the colour changes softly or not at all.

Pixels at sharp edges come last: each joins the neighbouring region whose colour is most like its own. So a region has
its thin tips, and its edge runs where a smoothed (antialiased) edge is half covered.
"""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.server.embedded.components import labelled

EDGE = 12  # levels, of 255: the least difference of two neighbours that is an edge
SPECK = 20  # pixels; smaller regions are parts of an edge
TOLERANCES = (16, 40, 80, 255)  # levels: pixels that differ less from a region join first
ROUNDS = 8  # pixels that a region grows with each tolerance


def regions(picture: Array) -> Array:
    """Number the regions of a uint8 picture (height, width, 3) from 1: int32 (height, width); 0 is in no region."""
    labels = labelled(~_edges(picture))
    labels[np.bincount(labels.reshape(-1))[labels] < SPECK] = 0
    return labels


def _edges(picture: Array) -> Array:
    """Return which pixels differ sharply from a neighbour.

    All four neighbours count: a smoothed edge that is almost horizontal changes slowly along a row, and only the pixels
    above and below show it.
    """
    edges = np.zeros(picture.shape[:2], bool)
    for channel in range(3):
        levels = picture[..., channel].astype(np.int16)
        for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            sharp = np.abs(levels[one] - levels[other]) >= EDGE
            edges[one] |= sharp
            edges[other] |= sharp
    return edges


def grown(labels: Array, picture: Array, within: Array) -> Array:
    """Return the regions, grown by the pixels at their edges.

    Args:
        labels: the regions, as from :func:`regions`.
        picture: uint8 (height, width, 3).
        within: bool (height, width): the pixels that may join a region.
    """
    padded = np.pad(labels, 1)
    flat, row = padded.reshape(-1), padded.shape[1]
    own = np.pad(picture, ((1, 1), (1, 1), (0, 0))).reshape(-1, 3).astype(np.int16)
    near = own.copy()  # the colour of the region that a pixel belongs to, close to the pixel
    free = np.flatnonzero(np.pad(within & (labels == 0), 1))
    for tolerance in TOLERANCES:
        for _ in range(ROUNDS):
            joined, source = _most_alike(free, flat, own, near, row, tolerance)
            if not joined.any():
                break
            pixels = free[joined]
            flat[pixels], near[pixels] = flat[source[joined]], near[source[joined]]
            free = free[~joined]
    return padded[1:-1, 1:-1]


def _most_alike(free: Array, labels: Array, own: Array, near: Array, row: int, tolerance: int) -> tuple[Array, Array]:
    """Return which of the free pixels have a neighbour in a region of a similar colour, and the most similar one."""
    least = np.full(len(free), tolerance + 1, np.int16)
    source = np.zeros(len(free), np.int64)
    for step in (-row, -1, 1, row):
        places = np.flatnonzero(labels[free + step])
        pixels = free[places]
        differ = np.abs(own[pixels] - near[pixels + step]).max(axis=1)
        better = differ < least[places]
        least[places[better]], source[places[better]] = differ[better], pixels[better] + step
    return least <= tolerance, source
