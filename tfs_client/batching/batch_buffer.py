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
from typing import Any, NamedTuple

import numpy as np

from tfs_client.batching.examples import Example, unreadable
from tfs_client.codec.snapshots import Read, array_of
from tfs_client.codec.values import Array, Untyped
from tfs_client.errors import SignatureError

RESERVE = 1 << 24  # bytes for an input of a batch at first; the pages of what stays empty take no memory
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


class Row(NamedTuple):
    """A row's place.

    Attributes:
        buffer: where it is.
        at: which row of it, from 0.
    """

    buffer: BatchBuffer
    at: int


class BatchBuffer:
    """Rows of one kind, in an array for each input.

    Args:
        rows: how many are expected at the most; more are taken too.
        memory: where the arrays come from.
    """

    def __init__(self, rows: int, memory: BatchMemory) -> None:
        self._rows = rows
        self._memory = memory
        self._columns: dict[str, _Column] = {}
        self._count = 0
        self.named = False

    def append(self, example: Example) -> Row:
        """Copy a row to the end. Raises EncodeError where there is no memory for it."""
        index, value = self._count, example.value
        self.named = isinstance(value, dict)
        values: Mapping[str, Read] = value if isinstance(value, dict) else {"": value}
        try:
            for alias, found in values.items():
                column = self._columns.get(alias)
                if column is None:
                    column = self._columns[alias] = _Column(found, self._rows, self._memory)
                column.put(index, found)
        except Exception as error:
            raise unreadable(error) from error
        self._count += 1
        return Row(self, index)

    def taken(self, indexes: Sequence[int]) -> dict[str, Read]:
        """Some of the rows, by alias: views where they are consecutive."""
        first = indexes[0]
        end = first + len(indexes)
        which = slice(first, end) if list(indexes) == list(range(first, end)) else list(indexes)
        return {alias: column.taken(which, indexes) for alias, column in self._columns.items()}


class _Column:
    """The values of one input.

    Python's integers and floats share a column, for most of them are for the same input of floats. Integers go with
    floats as floats only when they are sent together with them; examples.py lets in none that a float cannot hold.
    """

    def __init__(self, first: Read, rows: int, memory: BatchMemory) -> None:
        array = array_of(first)
        self._rows = rows
        self._memory = memory
        self._untyped = isinstance(first, Untyped)
        self._array = memory.reserve(array, rows)
        self._dtype = array.dtype  # of the first row
        self._others: set[int] = set()  # rows that came in another dtype

    def put(self, index: int, found: Read) -> None:
        """Copy a row to its place."""
        row = array_of(found)
        if index == len(self._array):
            self._array = self._memory.larger(self._array, index, self._rows)
        if row.dtype.kind == "f" and self._array.dtype.kind == "i":
            self._array = self._array.astype(row.dtype)
        self._array[index, ...] = row  # the ellipsis copies an object's only element, not the array around it
        if row.dtype == self._dtype:
            self._others.discard(index)  # of a row that could not be appended
        else:
            self._others.add(index)

    def taken(self, which: Any, indexes: Sequence[int]) -> Read:
        array: Array = self._array[which]
        if not self._untyped:
            return array
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
