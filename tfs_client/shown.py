"""How values and texts from outside appear in error messages and on terminals: short, and without control characters.

A server, a file or a caller controls what such a text holds. So it is cut to a length that suits a log, and control
characters, which a terminal would obey, are escaped.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection
from itertools import islice
from typing import Any

LONGEST_TEXT = 4000  # characters of an error message; with the note about the rest it stays below 4 KiB of ASCII
LONGEST_VALUE = 80  # characters of a value within a message
MOST_NAMES = 20  # of a list within a message

# The C0 and C1 control characters but newline and tab, DEL, line separators, bidirectional overrides and surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_repr = reprlib.Repr()
_repr.maxlevel = 4
_repr.maxstring = _repr.maxother = LONGEST_VALUE


def shown(value: Any, limit: int = LONGEST_VALUE) -> str:
    """A value's repr in at most ``limit`` characters, however large, deep or hostile the value is; it never raises."""
    try:
        text = _repr.repr(value)
    except Exception:  # a repr of someone else's class, or a number of too many digits
        text = f"<{type(value).__name__}>"
    text = printable(text).replace("\n", "\\n")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listed(names: Collection[str], most: int = MOST_NAMES) -> str:
    """Names for error messages: the first ``most`` of them, each cut to a readable length, and how many more."""
    short = (name if len(name) <= LONGEST_VALUE else f"{name[: LONGEST_VALUE - 3]}..." for name in islice(names, most))
    text = ", ".join(short) or "none"
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def printable(text: str) -> str:
    r"""The text with control characters written out as ``\x1b`` or ``\u202e``; newlines and tabs stay."""
    return _UNPRINTABLE.sub(_escaped, text)


def bounded(text: str, limit: int = LONGEST_TEXT) -> str:
    """The printable text in at most ``limit`` bytes of UTF-8; of a longer one both ends stay, and its length."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > 2 * limit:  # before anything is done to each character
        return _cut(printable(text[:limit]), printable(text[-limit:]), len(text), limit)
    text = printable(text)
    return text if len(text.encode()) <= limit else _cut(text, text, len(text), limit)


def _cut(head: str, tail: str, length: int, limit: int) -> str:
    note = f" … ({length} characters in all) … "
    room = limit - len(note.encode())
    return _first(head, room - room // 4) + note + _last(tail, room // 4)


def _first(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _last(text: str, size: int) -> str:
    return text.encode()[-size:].decode(errors="ignore")


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
