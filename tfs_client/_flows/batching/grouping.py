"""Grouping: collects single items into batches of items that can be sent together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Grouping(Generic[Item]):
    """Items that wait for others of their kind. Times are passed in.

    Args:
        batch_size: items in a full batch.
        max_delay: seconds after which an item stops waiting; None: it waits until its batch is full.
    """

    def __init__(self, batch_size: int, max_delay: float | None) -> None:
        self.batch_size = batch_size
        self._max_delay = max_delay
        # By kind, the oldest group first: when its first item was added, and its items.
        self._groups: dict[Hashable, tuple[float, list[Item]]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def first(self, kind: Hashable) -> Item | None:
        """The first waiting item of this kind, if any."""
        group = self._groups.get(kind)
        return None if group is None else group[1][0]

    def add(self, kind: Hashable, item: Item, now: float) -> list[Item] | None:
        """Add an item to its group; returns the group once it is a full batch."""
        _, items = self._groups.setdefault(kind, (now, []))
        items.append(item)
        if len(items) < self.batch_size:
            return None
        del self._groups[kind]
        return items

    def due(self, now: float) -> list[Item] | None:
        """Remove and return the oldest group if its first item has waited for ``max_delay``."""
        when = self.next_due()
        return self.oldest() if when is not None and when <= now else None

    def next_due(self) -> float | None:
        """When the oldest group is due; None if no group ever is."""
        if self._max_delay is None or not self._groups:
            return None
        came, _ = next(iter(self._groups.values()))
        return came + self._max_delay

    def oldest(self) -> list[Item] | None:
        """Remove and return the oldest group, full or not; None if nothing waits."""
        if not self._groups:
            return None
        _, items = self._groups.pop(next(iter(self._groups)))
        return items
