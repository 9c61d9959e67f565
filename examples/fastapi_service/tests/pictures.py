"""Handwriting for the real model, whose answers are recorded."""

from __future__ import annotations

DRAWN = {
    0: """
        ..####..
        .##..##.
        .#....#.
        .#....#.
        .#....#.
        .#....#.
        .##..##.
        ..####..
    """,
    4: """
        ....##..
        ...##...
        ..##....
        .##.##..
        .######.
        ....##..
        ....##..
        ....##..
    """,
    7: """
        .######.
        .######.
        .....##.
        ....##..
        ..#####.
        ...##...
        ...#....
        ..##....
    """,
}


def drawn(digit: int) -> list[list[float]]:
    """The picture of a digit: rows of brightness."""
    return [[float(point == "#") for point in row] for row in DRAWN[digit].split()]
