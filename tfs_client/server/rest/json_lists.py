"""ListReader: reads the elements of a list many at a time, with a fast reader that reads only complete values.

What must hold: the result is what the exact reader would have read, although the fast reader cannot be given a part of
a text. So a piece of the list, from the start of an element to some comma, is tried as a separate list, in brackets. If
the fast reader accepts it, it is the elements up to that comma: JSON is read from its start, so the same bytes are the
same values in both texts. If it does not, the comma was inside an element or a string, the list has ended, or something
is invalid; the attempt has no effect, and the exact reader reads the next element itself.

Which comma to try is a guess from how the next element starts. A wrong guess costs time only, and a bounded amount:
each failure halves the size of the pieces and doubles the number of elements that are left to the exact reader before
the next attempt.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tfs_client.server.rest.json_types import JsonValue

ReadPiece = Callable[[bytes], "list[JsonValue] | None"]

MAX_PIECE = 1 << 17  # bytes of a piece of several elements; the fast reader holds the interpreter for some milliseconds
MAX_ELEMENT = 1 << 20  # bytes of a piece of one element
MIN_PIECE = 1 << 10
WORTHWHILE = 48  # bytes; the exact reader reads shorter pieces sooner
BACKOFF = 16  # elements left to the exact reader after a failure; they double with each further one
MAX_BACKOFF = 4096

_BLANK = re.compile(rb"[ \t\r\n]{0,64}")
_OPENING = re.compile(rb"\[{1,32}|\{|\"|")
_CLOSING = bytes.maketrans(b"[{", b"]}")


class ListReader:
    """Reads pieces of lists. The pieces grow while that succeeds and shrink when it fails.

    Args:
        data: the whole text.
        read: reads a text that is a list; None for any other text.
    """

    def __init__(self, data: bytes, read: ReadPiece) -> None:
        self._data = data
        self._read = read
        self._size = MAX_PIECE
        self._skipped = 0  # elements still left to the exact reader
        self._backoff = BACKOFF

    def read_elements(self, start: int, container: list[JsonValue]) -> int:
        """Append elements of a list, the next of which starts at ``start``.

        Returns where the first element starts that was not read: ``start`` if none was.
        """
        if self._skipped:
            self._skipped -= 1
            return start
        end = self._boundary(start)
        if 0 <= end < start + WORTHWHILE:
            return start
        found = self._read(b"[%b]" % self._data[start:end]) if end >= 0 else None
        if not found:
            self._size = max(self._size // 2, MIN_PIECE)
            self._skipped = self._backoff
            self._backoff = min(self._backoff * 2, MAX_BACKOFF)
            return start
        container += found
        self._size = min(self._size * 2, MAX_PIECE)
        self._backoff = BACKOFF
        return end + 1

    def _boundary(self, start: int) -> int:
        """Return the comma to end the next piece before; -1 if none is near, 0 if the list ends first.

        Elements of a list mostly look alike: the bracket that closes the first closes each of them, and the same white
        space precedes each.
        """
        data, stop = self._data, start + self._size
        first = _BLANK.match(data, start).end()  # type: ignore[union-attr]
        opening = _OPENING.match(data, first).group()  # type: ignore[union-attr]
        if not opening:
            last = data.find(b"]", start, stop)
            return data.rfind(b",", start, stop) if last < 0 else max(0, data.rfind(b",", start, last))
        closing = opening.translate(_CLOSING)
        if opening[:1] == b"[":
            last = data.find(closing + b"]", start, stop)
            stop = stop if last < 0 else last
        before = data[max(0, first - 64) : first]
        blank = before[len(before.rstrip(b" \t\r\n")) :]
        alike = {b"%b,%b%b" % (closing, blank, opening): None, b"%b, %b" % (closing, opening): None}
        for text in (*alike, closing + b","):
            end = data.rfind(text, start, stop)
            if end >= 0:
                return end + len(closing)
        for text in alike:
            end = data.find(text, stop, start + MAX_ELEMENT)
            if end >= 0:
                return end + len(closing)
        return -1
