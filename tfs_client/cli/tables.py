"""Tables of the commands, as lines of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tfs_client._printable import printable


def aligned(rows: Sequence[tuple[str, ...]], right: Collection[int] = ()) -> str:
    """Align rows in columns, two spaces apart; line breaks in cells become spaces.

    Args:
        rows: the cells of each row, as many in all of them.
        right: the columns of numbers, by their index: they are aligned at the right.
    """
    rows = [tuple(printable(" ".join(cell.split("\n"))) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.rjust if at in right else str.ljust for at in range(len(widths))]
    lines = ("  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
