"""The best labels of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfs_client.cli import report
from tfs_client.cli.bulk.outcomes import Array


@dataclass(frozen=True)
class Best:
    """The best labels of a row.

    Attributes:
        count: how many.
        labels: names of the classes, from class 0 on.
    """

    count: int
    labels: Sequence[str]

    def of(self, outputs: Mapping[str, Array]) -> list[tuple[str, float]]:
        """Labels and scores, best first; none when the outputs are not of that kind."""
        rows = {alias: array[np.newaxis] for alias, array in outputs.items() if array.ndim <= 1}
        return report.top(rows, self.count, self.labels)
