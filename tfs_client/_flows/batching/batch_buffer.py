"""BatchBuffer: the rows of one batch, each copied once, to its place in the arrays that are sent.

Over gRPC these arrays lie in the request for a full batch, which is then sent without another copy
(``_codec.request_arrays``). A batch that is not full, or is sent in parts, is copied into another request.

What must hold:

- The caller may change a row as soon as ``append`` has returned.
- Rows that are in a request are not written again, until the last attempt to send it has ended.
- Consecutive rows are a slice of the arrays. Rows with gaps between them, after cancellations or refusals, take one
  more copy.
- A row that cannot be appended leaves the others unchanged.
- Arrays that were returned keep their values when the buffer grows.

A buffer lives as long as any of its rows. All its memory comes from ``BatchMemory``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np

from tfs_client._codec.dtypes import Array, ArrayShape, row_of
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.snapshots import Read, array_of
from tfs_client._codec.values import Untyped
from tfs_client._flows.batching.example_rows import Example, unreadable_example
from tfs_client._transports.request_buffers import LARGE
from tfs_client.errors import SignatureError, TFServingError

RESERVE = 1 << 26  # bytes reserved at first for an input of a batch; untouched pages take no memory
MOST = 1 << 28  # most bytes reserved at once because an earlier batch needed them

NewRequest = Callable[[Mapping[str, ArrayShape]], RequestArrays | None]
"""Makes the arrays of a request; None if requests are written in another way."""


class BatchMemory:
    """Allocates the arrays of batches.

    It reserves the whole batch at once if that is small, or if an earlier batch needed as much; otherwise arrays double
    when they are full, which copies each row about once more. So a huge batch size alone takes no memory.

    Args:
        new_request: makes the arrays of requests; without it, batches are copied into their requests.
        shared: inputs that are sent with every request.

    Attributes:
        filled: whether the last batch that was sent filled its buffer. If not, the memory of a full request is of use
            to the next one only if it is at hand: taking new memory costs more than a copy of a few rows.
        shared: as above.
    """

    def __init__(self, new_request: NewRequest | None = None, shared: Mapping[str, Read] | None = None) -> None:
        self._known = RESERVE
        self._new_request = new_request
        self.shared: Mapping[str, Read] = {} if shared is None else shared
        self.filled = True
        self._shapes: Mapping[str, ArrayShape] = {}  # of the last request

    def buffer(self, rows: int) -> BatchBuffer:
        """A new buffer for ``rows`` rows."""
        return BatchBuffer(rows, self)

    def request(self, row: Mapping[str, Read], rows: int) -> RequestArrays | None:
        """The request for ``rows`` rows like this one, with the shared inputs; None if copying is as good."""
        if self._new_request is None or not row.keys().isdisjoint(self.shared):
            return None
        shapes = {}
        try:
            for alias, found in {**row, **self.shared}.items():
                if isinstance(found, Untyped) or found.dtype.kind in "OSU":
                    return None
                shape = found.shape if alias in self.shared else (rows, *found.shape)
                shapes[alias] = ArrayShape(row_of(found.dtype), shape)
            sizes = [each.nbytes for each in shapes.values()]
            again, self._shapes = shapes == self._shapes, shapes
            if sum(sizes) < LARGE or max(sizes) > self._known or not (self.filled or again):
                return None
            request = self._new_request(shapes)
        except TFServingError:  # about the full batch; this one may be smaller
            return None
        if request is not None:
            for alias, found in self.shared.items():
                request[alias][...] = array_of(found)
        return request

    def reserve(self, row: Array, rows: int) -> Array:
        """An array for rows like this one: for all of them, or for as many as are reserved at first."""
        fits = max(1, self._known // max(1, row.nbytes))
        dtype = row.dtype if row.dtype.isnative else row.dtype.newbyteorder("=")
        return np.empty((min(rows, fits), *row.shape), dtype)

    def larger(self, array: Array, used: int, rows: int) -> Array:
        """A larger array with a copy of the used rows."""
        length = 2 * len(array)
        found = np.empty((min(length, rows) if rows > len(array) else length, *array.shape[1:]), array.dtype)
        found[:used] = array[:used]
        self._known = max(self._known, min(found.nbytes, MOST))
        return found


class Row(Protocol):
    """A row with its place in a buffer."""

    @property
    def buffer(self) -> BatchBuffer:
        """The buffer that holds it."""

    @property
    def at(self) -> int:
        """Its index in the buffer."""


class BatchBuffer:
    """Rows of one kind, in one array for each input.

    Args:
        rows: how many are expected at most; more are accepted too.
        memory: allocates the arrays.

    Attributes:
        named: whether the rows are mappings from input alias to value.
    """

    def __init__(self, rows: int, memory: BatchMemory) -> None:
        self._rows = rows
        self._memory = memory
        self._columns: dict[str, _Arrays | _Numbers] = {}
        self._request: RequestArrays | None = None  # for all expected rows
        self._count = 0
        self.named = False

    def append(self, example: Example) -> int:
        """Copy a row to the end; returns its index. Raises EncodeError if there is not enough memory."""
        index, value, columns = self._count, example.value, self._columns
        values: Mapping[str, Read] = value if isinstance(value, dict) else {"": value}
        try:
            if not index:
                self.named = values is value
                request = self._request = self._memory.request(values, self._rows) if self.named else None
                for alias, found in values.items():
                    kind = _Numbers if isinstance(found, Untyped) else _Arrays
                    place = None if request is None else request[alias]
                    columns[alias] = kind(array_of(found), self._rows, self._memory, place)
            for alias, found in values.items():
                columns[alias].put(index, found)
        except Exception as error:
            raise unreadable_example(error) from error
        self._count = index + 1
        return index

    def request(self, indexes: Sequence[int], shared: Mapping[str, Read]) -> RequestArrays | None:
        """The request for these rows and the shared inputs, if the rows lie in one; None if they must be copied."""
        filled = len(indexes) == self._rows and list(indexes) == list(range(self._rows))
        self._memory.filled = filled
        request = self._request
        if request is None or not filled or shared is not self._memory.shared:
            return None
        return request if all(column.lies_in(request[alias]) for alias, column in self._columns.items()) else None

    def take(self, indexes: Sequence[int]) -> dict[str, Read]:
        """Some of the rows, by alias: views if they are consecutive."""
        first = indexes[0]
        end = first + len(indexes)
        which = slice(first, end) if list(indexes) == list(range(first, end)) else list(indexes)
        return {alias: column.take(which, indexes) for alias, column in self._columns.items()}


class _Arrays:
    """The rows of an input whose dtype is known."""

    def __init__(self, first: Array, rows: int, memory: BatchMemory, place: Array | None) -> None:
        self._rows = rows
        self._memory = memory
        self._array = memory.reserve(first, rows) if place is None else place

    def lies_in(self, place: Array) -> bool:
        """Whether the rows lie in this array."""
        return self._array is place

    def put(self, index: int, row: Read) -> None:
        """Copy a row to its place."""
        if index == len(self._array):
            self._array = self._memory.larger(self._array, index, self._rows)
        # The ellipsis copies the only element of an object array, not the array around it.
        self._array[index, ...] = row

    def take(self, which: slice | list[int], indexes: Sequence[int]) -> Read:
        """Some of the rows."""
        found: Array = self._array[which]
        return found


class _Numbers(_Arrays):
    """The rows of an input that are Python numbers.

    Integers and floats share an array, because most of them are for the same float input. Integers become floats only
    when they are sent together with floats; ``example_rows`` lets in only integers that a float holds exactly.
    """

    def __init__(self, first: Array, rows: int, memory: BatchMemory, place: Array | None) -> None:
        super().__init__(first, rows, memory, place)
        self._dtype = first.dtype
        self._others: set[int] = set()  # rows that had another dtype than the first

    def put(self, index: int, row: Read) -> None:
        array = array_of(row)
        if array.dtype.kind == "f" and self._array.dtype.kind == "i":
            self._array = self._array.astype(array.dtype)
        super().put(index, array)
        if array.dtype == self._dtype:
            self._others.discard(index)  # left by a row that could not be appended
        else:
            self._others.add(index)

    def take(self, which: slice | list[int], indexes: Sequence[int]) -> Read:
        array: Array = self._array[which]
        if self._dtype != array.dtype or self._others:  # floats, some of which were integers
            floats = self._others if self._dtype.kind == "i" else set(indexes) - self._others
            if floats.isdisjoint(indexes):
                array = array.astype(np.int64)
        return Untyped(array)


def request_inputs(rows: Sequence[Row], shared: Mapping[str, Read]) -> Mapping[str, Read] | Read:
    """The inputs of a request for rows of one kind, together with the shared inputs.

    Raises SignatureError for shared inputs if the rows have no names.
    """
    named = rows[0].buffer.named
    if shared and not named:
        raise SignatureError("shared inputs need named inputs: expected examples that are mappings, got single values")
    places: list[tuple[BatchBuffer, list[int]]] = [
        (buffer, [row.at for row in found]) for buffer, found in groupby(rows, key=lambda row: row.buffer)
    ]
    if len(places) == 1 and (request := places[0][0].request(places[0][1], shared)) is not None:
        return request
    parts = [buffer.take(indexes) for buffer, indexes in places]
    values: dict[str, Read] = (
        parts[0] if len(parts) == 1 else {alias: _joined([part[alias] for part in parts]) for alias in parts[0]}
    )
    return values | dict(shared) if named else values[""]


def _joined(parts: Sequence[Read]) -> Read:
    whole = np.concatenate([array_of(part) for part in parts])
    return Untyped(whole) if isinstance(parts[0], Untyped) else whole
