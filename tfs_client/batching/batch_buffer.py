"""BatchBuffer: the rows of one batch, each copied once, to its place in the arrays that are sent.

What must hold:

- A row is the caller's again as soon as ``append`` has returned.
- Rows that were appended one after the other are sent as a slice, without another copy. Rows with gaps between them,
  after cancellations or refusals, are gathered by one copy.
- A row that cannot be appended leaves the others as they are.
- Arrays that were given out keep their values, however the buffer grows.

A buffer lives as long as one of its rows does. All its memory comes from ``BatchMemory``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from tfs_client.batching.examples import Example, unreadable
from tfs_client.codec.snapshots import Read, array_of
from tfs_client.codec.values import Array, Untyped
from tfs_client.errors import SignatureError

RESERVE = 1 << 26  # bytes for an input of a batch at first; the pages of what stays empty take no memory
MOST = 1 << 28  # bytes that are reserved at once because an earlier batch needed as much


class BatchMemory:
    """Memory for batches.

    It reserves the whole batch at once where that is little, or where an earlier batch needed as much; else it doubles,
    which copies each row about once more. So a huge batch size alone takes no memory.
    """

    def __init__(self) -> None:
        self._known = RESERVE

    def buffer(self, rows: int) -> BatchBuffer:
        """A buffer for so many rows."""
        return BatchBuffer(rows, self)

    def reserve(self, row: Array, rows: int) -> Array:
        """An array for rows like this one: for so many, or for as many as are sane to begin with."""
        fits = max(1, self._known // max(1, row.nbytes))
        dtype = row.dtype if row.dtype.isnative else row.dtype.newbyteorder("=")
        return np.empty((min(rows, fits), *row.shape), dtype)

    def larger(self, array: Array, used: int, rows: int) -> Array:
        """A larger array with the rows that are used, which stay in the old one too."""
        room = 2 * len(array)
        found = np.empty((min(room, rows) if rows > len(array) else room, *array.shape[1:]), array.dtype)
        found[:used] = array[:used]
        self._known = max(self._known, min(found.nbytes, MOST))
        return found


class Row(Protocol):
    """What stands for a row, and knows its place."""

    @property
    def buffer(self) -> BatchBuffer:
        """Where it is."""

    @property
    def at(self) -> int:
        """Which row of the buffer it is, from 0."""


class BatchBuffer:
    """Rows of one kind, in an array for each input.

    Args:
        rows: how many are expected at the most; more are taken too.
        memory: where the arrays come from.
    """

    def __init__(self, rows: int, memory: BatchMemory) -> None:
        self._rows = rows
        self._memory = memory
        self._columns: dict[str, _Arrays | _Numbers] = {}
        self._count = 0
        self.named = False

    def append(self, example: Example) -> int:
        """Copy a row to the end; its place. Raises EncodeError where there is no memory for it."""
        index, value, columns = self._count, example.value, self._columns
        values: Mapping[str, Read] = value if isinstance(value, dict) else {"": value}
        try:
            if not index:
                self.named = values is value
                for alias, found in values.items():
                    kind = _Numbers if isinstance(found, Untyped) else _Arrays
                    columns[alias] = kind(array_of(found), self._rows, self._memory)
            for alias, found in values.items():
                columns[alias].put(index, found)
        except Exception as error:
            raise unreadable(error) from error
        self._count = index + 1
        return index

    def taken(self, indexes: Sequence[int]) -> dict[str, Read]:
        """Some of the rows, by alias: views where they are consecutive."""
        first = indexes[0]
        end = first + len(indexes)
        which = slice(first, end) if list(indexes) == list(range(first, end)) else list(indexes)
        return {alias: column.taken(which, indexes) for alias, column in self._columns.items()}


class _Arrays:
    """The rows of an input whose dtype is known."""

    def __init__(self, first: Array, rows: int, memory: BatchMemory) -> None:
        self._rows = rows
        self._memory = memory
        self._array = memory.reserve(first, rows)

    def put(self, index: int, row: Any) -> None:
        """Copy a row to its place."""
        if index == len(self._array):
            self._array = self._memory.larger(self._array, index, self._rows)
        self._array[index, ...] = row  # the ellipsis copies an object's only element, not the array around it

    def taken(self, which: Any, indexes: Sequence[int]) -> Read:
        """Some of the rows."""
        found: Array = self._array[which]
        return found


class _Numbers(_Arrays):
    """The rows of an input that are Python's numbers.

    Integers and floats share an array, for most of them are for the same input of floats. Integers become floats only
    where they are sent together with some; examples.py lets in none that a float cannot hold.
    """

    def __init__(self, first: Array, rows: int, memory: BatchMemory) -> None:
        super().__init__(first, rows, memory)
        self._dtype = first.dtype
        self._others: set[int] = set()  # rows that came in another dtype than the first

    def put(self, index: int, row: Any) -> None:
        array = array_of(row)
        if array.dtype.kind == "f" and self._array.dtype.kind == "i":
            self._array = self._array.astype(array.dtype)
        super().put(index, array)
        if array.dtype == self._dtype:
            self._others.discard(index)  # of a row that could not be appended
        else:
            self._others.add(index)

    def taken(self, which: Any, indexes: Sequence[int]) -> Read:
        array: Array = self._array[which]
        if self._dtype != array.dtype or self._others:  # floats, some of which came as integers
            floats = self._others if self._dtype.kind == "i" else set(indexes) - self._others
            if floats.isdisjoint(indexes):
                array = array.astype(np.int64)
        return Untyped(array)


def inputs(rows: Sequence[Row], shared: Mapping[str, Any]) -> Any:
    """The inputs of a request for rows of one kind, with those that go whole with every request.

    Raises SignatureError for shared inputs beside rows without a name.
    """
    named = rows[0].buffer.named
    if shared and not named:
        raise SignatureError("shared inputs go with others that have names: give examples as mappings")
    parts = [buffer.taken([row.at for row in found]) for buffer, found in groupby(rows, key=lambda row: row.buffer)]
    values = parts[0] if len(parts) == 1 else {alias: _joined([part[alias] for part in parts]) for alias in parts[0]}
    return values | dict(shared) if named else values[""]


def _joined(parts: Sequence[Read]) -> Read:
    whole = np.concatenate([array_of(part) for part in parts])
    return Untyped(whole) if isinstance(parts[0], Untyped) else whole
