"""Collect the repeated fields of a TensorProto: packed or unpacked, in one piece or many.

Strategy: the result is always the packed form, as one span of the message or as bytes.

- A single packed piece, the usual case, is a span, so nothing is copied.
- Further pieces are appended; protobuf allows any mixture of packed and unpacked ones.
- Unpacked values, a tag before each, are first read one by one by the walk over the message's fields. After PATIENCE
  values of one field in a row, numpy reads the rest of the run in windows: it compares all tags at once and drops them.

A loop over elements thus ends after a few values, so that no message takes longer than its length justifies.
"""

from __future__ import annotations

import numpy as np

from tfs_client._codec import many_strings, wire
from tfs_client._codec.dtypes import Array, Field
from tfs_client.errors import DecodeError

_WIDTH = {Field.FLOAT: 4, Field.DOUBLE: 8, Field.SCOMPLEX: 4, Field.DCOMPLEX: 8}
_VARINTS = (Field.INT, Field.INT64, Field.BOOL, Field.HALF, Field.UINT32, Field.UINT64)

# The tags of each field, for packed and for unpacked values.
_PACKED = {wire.tag(field, wire.LENGTH): field for field in (*_WIDTH, *_VARINTS, Field.FLOAT8)}
_FIXED = {wire.tag(field, wire.FIXED32 if width == 4 else wire.FIXED64): field for field, width in _WIDTH.items()}
_SINGLE = {wire.tag(field, wire.VARINT): field for field in _VARINTS}
_STRING = wire.tag(Field.STRING, wire.LENGTH)

# Unpacked values are read one by one until PATIENCE of one field came in a row, then in windows. The window doubles
# while the run continues up to a limit, so that short runs stay cheap and long ones need little scratch memory.
PATIENCE = 32
WINDOW = 1 << 10  # bytes
MAX_WINDOW = 1 << 16
LONGEST = 10  # bytes of a varint


class Payloads:
    """The values of the typed fields of one message, as packed bytes by field."""

    def __init__(self, data: bytes, end: int) -> None:
        self._data = data
        self._end = end
        self._found: dict[Field, tuple[int, int] | bytearray] = {}
        self._strings: list[bytes] = []
        self._loop = many_strings.patience()  # strings left until protobuf's parser is tried, once
        self._tag = self._in_row = 0  # the last unpacked field, and how often it came in a row

    def take(self, tag: int, first: int, second: int) -> int:
        """Add one field of the walk; return the offset where the walk continues. Other fields are skipped."""
        if tag in _PACKED:
            field = _PACKED[tag]
            if field is Field.FLOAT8:  # not repeated: the last one counts
                self._found.pop(field, None)
            self._add(field, first, second)
        elif tag == _STRING:
            self._strings.append(self._data[first:second])
            return self._string_run(second)
        elif tag in _FIXED:
            self._add(_FIXED[tag], first, second)
            if self._repeats(tag):
                return self._fixed_run(_FIXED[tag], tag, second)
        elif tag in _SINGLE:
            self._append(_SINGLE[tag], wire.varint(first))
            if self._repeats(tag):
                return self._varint_run(_SINGLE[tag], tag, second)
        return second

    def _repeats(self, tag: int) -> bool:
        self._in_row = self._in_row + 1 if tag == self._tag else 0
        self._tag = tag
        return self._in_row >= PATIENCE

    def bytes_of(self, field: Field) -> memoryview:
        """Return the packed values of a field; empty if it did not occur."""
        found = self._found.get(field, (0, 0))
        if isinstance(found, tuple):
            return memoryview(self._data)[found[0] : found[1]]
        return memoryview(found)

    def strings(self, limit: int) -> Array:
        """Return the first ``limit`` values of ``string_val``."""
        values = self._strings[:limit]
        array = np.empty(len(values), object)
        array[:] = values
        return array

    def _string_run(self, at: int) -> int:
        """Read consecutive strings from ``at`` on; return the offset after them."""
        data, last, take = self._data, self._end - 1, self._strings.append
        while at < last and data[at] == _STRING and data[at + 1] < 0x80:
            start = at + 2
            stop = start + data[at + 1]
            if stop > self._end:
                break  # cut off: the walk reports it
            take(data[start:stop])
            at = stop
            self._loop -= 1
            if not self._loop:
                return self._rest_by_protobuf(at)
        return at

    def _rest_by_protobuf(self, at: int) -> int:
        """Read the rest of the message at once if it consists only of strings."""
        values = many_strings.read(self._data[at : self._end])
        if values is None:
            return at  # the walk goes on, and reports errors
        self._strings += values
        return self._end

    def _add(self, field: Field, start: int, stop: int) -> None:
        if field in self._found:
            self._append(field, self._whole(field, start, stop))
        else:
            self._found[field] = (start, stop)

    def _whole(self, field: Field, start: int, stop: int) -> bytes:
        """Return a further piece of a packed field. Raises DecodeError if a piece ends within a value."""
        known, piece = self._found[field], self._data[start:stop]
        last = self._data[max(known[0], known[1] - 1) : known[1]] if isinstance(known, tuple) else known[-1:]
        cut = (stop - start) % _WIDTH[field] if field in _WIDTH else piece[-1:] >= b"\x80" or last >= b"\x80"
        if cut:
            raise DecodeError(f"expected whole values in field {field} at byte {start}, got one that is cut off")
        return piece

    def _append(self, field: Field, payload: bytes) -> None:
        known = self._found.get(field)
        if not isinstance(known, bytearray):
            start, stop = known or (0, 0)
            known = self._found[field] = bytearray(memoryview(self._data)[start:stop])
        known += payload

    def _fixed_run(self, field: Field, tag: int, at: int) -> int:
        """Read unpacked values of fixed width: every record is a one-byte tag and the value."""
        step = _WIDTH[field] + 1
        window = WINDOW
        while at < self._end and self._data[at] == tag:
            count = min(window, self._end - at) // step
            records = np.frombuffer(self._data, np.uint8, count * step, at).reshape(count, step)
            same = records[:, 0] == tag
            run = count if same.all() else int(same.argmin())
            self._append(field, records[:run, 1:].tobytes())
            at += run * step
            window = min(2 * window, MAX_WINDOW)
            if run < count or not count:
                break
        return at

    def _varint_run(self, field: Field, tag: int, at: int) -> int:
        """Read unpacked varints: tags and values alternate, and both are varints."""
        mark = wire.varint(tag)
        window = WINDOW
        while self._data.startswith(mark, at, self._end):
            size = min(window, self._end - at)
            run, used, values = _alternating(np.frombuffer(self._data, np.uint8, size, at), mark)
            self._append(field, values)
            at += used
            window = min(2 * window, MAX_WINDOW)
            if not run:
                break
        return at


def _alternating(chunk: Array, mark: bytes) -> tuple[int, int, bytes]:
    """Read pairs of the tag ``mark`` and a varint from ``chunk``: their number, their size, and the varints alone."""
    ends = (chunk < 0x80).nonzero()[0]
    pairs = ends.size // 2
    starts = np.zeros(pairs, np.intp)
    starts[1:] = ends[1 : 2 * pairs - 1 : 2] + 1
    same = ends[0 : 2 * pairs : 2] - starts == len(mark) - 1
    same &= ends[1 : 2 * pairs : 2] - ends[0 : 2 * pairs : 2] <= LONGEST  # the walk reports longer ones
    for n, byte in enumerate(mark):
        same &= chunk.take(starts + n, mode="clip") == byte
    run = pairs if same.all() else int(same.argmin())
    if not run:
        return 0, 0, b""
    used = int(ends[2 * run - 1]) + 1
    keep = np.ones(used, np.bool_)
    for n in range(len(mark)):
        keep[starts[:run] + n] = False
    return run, used, chunk[:used][keep].tobytes()
