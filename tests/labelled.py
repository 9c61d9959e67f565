"""A column that is indexed by label, as pandas' are, for tests without pandas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class Labelled:
    """Values with labels: ``column[label]`` looks up a label, iterating gives the values in order."""

    def __init__(self, values: Sequence[Any], labels: Sequence[Any]) -> None:
        self._values, self._labels = list(values), list(labels)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __getitem__(self, label: Any) -> Any:
        if label not in self._labels:
            raise KeyError(label)
        return self._values[self._labels.index(label)]
