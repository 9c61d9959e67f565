"""Ideal shapes: how well a patch of pixels fits a circle, a triangle, a square and others (NAMES).

An outline is the distance from the centre to the edge in RAYS directions. Every ideal shape is scaled to the area of
the patch and laid over it; the score is the area that both cover, divided by the area that either covers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from tfs_client._codec.dtypes import Array

NAMES = ("circle", "triangle", "square", "rectangle", "pentagon", "hexagon", "star")

RAYS = 120
SQUARE = 1.15  # the largest ratio of the sides of a square; a rectangle has more
CORNERS = np.array(list(combinations(range(24), 3)))  # of triangles between 24 points of an outline
INNER = np.linspace(0.3, 0.7, 9)  # radii of a star's inner corners, as parts of the outer radius

_ANGLES = np.arange(RAYS) * (2 * np.pi / RAYS)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # x, y


def best_fit(mask: Array) -> tuple[str, float]:
    """Return the name of the shape that a patch without holes fits best, and its score: 1 for a perfect fit."""
    y, x = np.nonzero(mask)
    centre = np.array([x.mean(), y.mean()])
    outline = _outline(mask, centre)
    hull = _ends_of_rows(mask) - centre
    scored = [(name, _overlap(outline, ideal)) for name, ideal in _ideals(outline, hull)]
    return max(scored, key=lambda pair: pair[1])


def _outline(mask: Array, centre: Array) -> Array:
    """Return the distance to the outermost pixel of the patch in each direction."""
    height, width = mask.shape
    farthest = np.hypot(*np.maximum(centre, [width - centre[0], height - centre[1]]))
    radii = np.arange(0, farthest + 1, 0.5)
    x, y = (np.rint(centre[axis] + _DIRECTIONS[:, axis, None] * radii).astype(np.int64) + 1 for axis in (0, 1))
    inside = np.pad(mask, 1)[np.clip(y, 0, height + 1), np.clip(x, 0, width + 1)]
    last = len(radii) - 1 - inside[:, ::-1].argmax(axis=1)
    return np.asarray(np.where(inside.any(axis=1), radii[last] + 0.25, 0.5))


def _ends_of_rows(mask: Array) -> Array:
    """Return the first and the last pixel of each row, as x and y: the corners of the patch are among them."""
    rows = np.flatnonzero(mask.any(axis=1))
    found = mask[rows]
    first, last = found.argmax(axis=1), mask.shape[1] - 1 - found[:, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.float64)


def _ideals(outline: Array, hull: Array) -> Iterator[tuple[str, Array]]:
    """Return the names and outlines of ideal shapes in the position of a patch."""
    yield "circle", np.ones(RAYS)
    yield "triangle", _polar(_largest_triangle(hull))
    across, down, turn = _least_rectangle(hull)
    corners = np.array([(across, down), (-across, down), (-across, -down), (across, -down)]) @ turn
    sides = max(across, down) / min(across, down)
    yield "square" if sides <= SQUARE else "rectangle", _polar(corners)
    yield "pentagon", _regular(outline, 5, np.cos(np.pi / 5))
    yield "hexagon", _regular(outline, 6, np.cos(np.pi / 6))
    for inner in INNER:
        yield "star", _regular(outline, 5, inner)


def _largest_triangle(hull: Array) -> Array:
    """Return the largest triangle between the outermost points in 24 directions, moved so that its centre is 0."""
    outermost = hull[(hull @ _DIRECTIONS[:: RAYS // 24].T).argmax(axis=0)]
    corners = outermost[CORNERS]
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    largest: Array = corners[np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).argmax()]
    return np.asarray(largest - largest.mean(axis=0))


def _least_rectangle(hull: Array) -> tuple[float, float, Array]:
    """Return the sides of the smallest rectangle around a patch, and its rotation."""
    angles = np.radians(np.arange(90))
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # Pixels are squares, which matter most where the rectangle is upright.
    across, down = (np.ptp(hull @ way.T, axis=0) + 0.7 for way in (axes, axes[:, ::-1] * (-1, 1)))
    best = int((across * down).argmin())
    cos, sin = axes[best]
    return float(across[best]), float(down[best]), np.array([(cos, sin), (-sin, cos)])


def _regular(outline: Array, corners: int, inner: float) -> Array:
    """Return the outline of a regular polygon or star that is turned as the patch is.

    Args:
        outline: that of the patch.
        corners: the outer ones, at the radius 1.
        inner: the radius half way between two of them.
    """
    turn = np.angle((outline * np.exp(1j * corners * _ANGLES)).sum()) / corners
    half = np.pi / corners
    beside = np.abs((_ANGLES - turn + half) % (2 * half) - half)  # the angle to the nearest corner
    return np.asarray(inner * np.sin(half) / (inner * np.sin(half - beside) + np.sin(beside)))


def _polar(polygon: Array) -> Array:
    """Return the outline of a polygon around 0: where each ray leaves it."""
    side = np.roll(polygon, -1, axis=0) - polygon
    slope = _DIRECTIONS[:, None, 0] * side[:, 1] - _DIRECTIONS[:, None, 1] * side[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = (polygon[:, 0] * side[:, 1] - polygon[:, 1] * side[:, 0]) / slope
        along = (polygon[:, 0] * _DIRECTIONS[:, None, 1] - polygon[:, 1] * _DIRECTIONS[:, None, 0]) / slope
    hit = (radius > 0) & (along >= -1e-9) & (along <= 1 + 1e-9)
    return np.asarray(np.where(hit, radius, 0).max(axis=1))


def _overlap(outline: Array, ideal: Array) -> float:
    """Return intersection over union of an outline and an ideal one, scaled to the same area."""
    area = (ideal**2).sum()
    if not area > 0:
        return 0.0
    ideal = ideal * np.sqrt((outline**2).sum() / area)
    return float((np.minimum(outline, ideal) ** 2).sum() / (np.maximum(outline, ideal) ** 2).sum())
