"""Leaps: the elements of a list, many at a time, by a reader that is fast but reads only whole values.

The text of a list from the start of an element to a comma is tried as a list of its own. If it is one, then it is the
elements up to that comma: text is read from its start, so the same bytes are the same values in both. If it is not, the
comma was within an element or a string, the list has ended, or something is wrong; nothing has been learnt, and the
caller reads the next element by itself. Which comma is tried is a guess, from how the next element starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

ReadPiece = Callable[[bytes], "list[Any] | None"]

LONGEST = 1 << 17  # bytes of a piece of several elements; the fast reader holds the interpreter for some milliseconds
LONGEST_ONE = 1 << 20  # bytes of a piece of one element
SHORTEST = 1 << 10
WORTHWHILE = 48  # bytes; fewer are read sooner without a leap
REST = 16  # elements that the caller reads by itself after a leap that failed, and
LONGEST_REST = 4096  # after many

_BLANK = re.compile(rb"[ \t\r\n]{0,64}")
_OPENING = re.compile(rb"\[{1,32}|\{|\"|")
_CLOSING = bytes.maketrans(b"[{", b"]}")


class Leaps:
    """Reads pieces of lists. They grow while that works and shrink when it does not.

    Args:
        data: the whole text.
        read: the list that a text is; None if it is none.
    """

    def __init__(self, data: bytes, read: ReadPiece) -> None:
        self._data = data
        self._read = read
        self._size = LONGEST
        self._rest = 0
        self._pause = REST

    def leap(self, start: int, container: list[Any]) -> int:
        """Append elements of a list, the next of which starts here. Where the next one after them starts."""
        if self._rest:
            self._rest -= 1
            return start
        end = self._boundary(start)
        if 0 <= end < start + WORTHWHILE:
            return start
        found = self._read(b"[%b]" % self._data[start:end]) if end >= 0 else None
        if not found:
            self._size = max(self._size // 2, SHORTEST)
            self._rest = self._pause
            self._pause = min(self._pause * 2, LONGEST_REST)
            return start
        container += found
        self._size = min(self._size * 2, LONGEST)
        self._pause = REST
        return end + 1

    def _boundary(self, start: int) -> int:
        """The comma that the next piece ends before; -1 if there is none in sight, 0 if the list ends first.

        Elements mostly look alike: what opens the first, closes each, and the same white space goes before each.
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
            end = data.find(text, stop, start + LONGEST_ONE)
            if end >= 0:
                return end + len(closing)
        return -1
