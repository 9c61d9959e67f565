"""Gathering: single items to batches of items that go together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Gathering(Generic[Item]):
    """Items that wait for others of their kind. Times are passed in.

    Args:
        batch_size: items in a full batch.
        max_delay: seconds after which an item waits no longer; None: until the batch is full.
    """

    def __init__(self, batch_size: int, max_delay: float | None) -> None:
        self.batch_size = batch_size
        self._max_delay = max_delay
        self._groups: dict[Hashable, tuple[float, list[Item]]] = {}  # by kind, oldest first; when the first item came

    def __len__(self) -> int:
        return len(self._groups)

    def first(self, kind: Hashable) -> Item | None:
        """The first of the items of this kind that wait; None when none does."""
        group = self._groups.get(kind)
        return None if group is None else group[1][0]

    def add(self, kind: Hashable, item: Item, now: float) -> list[Item] | None:
        """Put an item to its like; returns the batch when that is full."""
        _, items = self._groups.setdefault(kind, (now, []))
        items.append(item)
        if len(items) < self.batch_size:
            return None
        del self._groups[kind]
        return items

    def due(self, now: float) -> list[Item] | None:
        """A batch whose oldest item has waited long enough, oldest first; None when there is none."""
        when = self.next_due()
        return self.oldest() if when is not None and when <= now else None

    def next_due(self) -> float | None:
        """When the next batch is due; None when none will be."""
        if self._max_delay is None or not self._groups:
            return None
        came, _ = next(iter(self._groups.values()))
        return came + self._max_delay

    def oldest(self) -> list[Item] | None:
        """The batch whose first item came first, full or not; None when nothing waits."""
        if not self._groups:
            return None
        _, items = self._groups.pop(next(iter(self._groups)))
        return items
