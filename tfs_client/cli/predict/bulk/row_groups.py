"""Groups of rows: a detection is a row, so a picture has as many rows as detections.

They are written at once and numbered. A crash may still cut them, as it may cut a row; then all rows of the picture are
removed, and the picture is predicted again.
"""

from __future__ import annotations

from tfs_client._printable import shown


class RowError(ValueError):
    """A row that cannot follow the one before."""


class RowGroups:
    """Finds the pictures whose rows are all in a file.

    Attributes:
        held: the names of these pictures.
        end: the end of the last whole group in the file, in bytes.
    """

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.end: int = 0
        self._open: tuple[str, int, int] | None = None

    def add(self, image: str, number: int, count: int, end: int) -> None:
        """Add the next row of the file.

        Args:
            image: the picture's name.
            number: the number of the row, from 1; 0 for a picture without detections.
            count: the number of rows that have numbers.
            end: the end of the row in the file, in bytes.

        Raises RowError for a row that cannot follow the one before.
        """
        expected = (image, min(1, count), count) if self._open is None else self._open
        if (image, number, count) != expected:
            raise RowError(
                f"expected row {shown(expected[1])} of {shown(expected[2])} for {shown(expected[0])}, got "
                f"{shown(number)} of {shown(count)} for {shown(image)}"
            )
        if number < count:
            self._open = (image, number + 1, count)
            return
        self._open = None
        self.held.add(image)
        self.end = end
