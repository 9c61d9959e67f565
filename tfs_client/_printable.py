"""Untrusted values and texts in error messages and on terminals: shortened, with control characters escaped.

A server, a file or a caller controls the content of such a text. So it is cut to a length that suits a log, and
characters that a terminal would interpret, or that nobody sees, are escaped: two names that differ look different.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection
from itertools import islice

LONGEST_TEXT = 4000  # characters of an error message; with the note about the omission it stays below 4 KiB of ASCII
LONGEST_VALUE = 80  # characters of a value within a message
MOST_NAMES = 20  # of a list within a message

# Characters that a terminal interprets or nobody sees: C0 and C1 control characters except newline and tab, DEL, line
# separators, surrogates, and the default ignorable code points of Unicode, such as zero-width and direction marks.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_NOUNS_END = re.compile(r"s\b")

_repr = reprlib.Repr()
_repr.maxlevel = 4
_repr.maxstring = _repr.maxother = LONGEST_VALUE


def shown(value: object, limit: int = LONGEST_VALUE) -> str:
    """Return a value's repr in at most ``limit`` characters. Never raises, however large, deep or hostile the value."""
    try:
        text = _repr.repr(value)
    except Exception:  # another package's __repr__, or an integer with too many digits
        text = f"<{type(value).__name__}>"
    text = printable(text).replace("\n", "\\n")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listed(names: Collection[str], most: int = MOST_NAMES) -> str:
    """Join names for an error message: the first ``most``, each cut to a readable length, and how many more follow."""
    short = (name if len(name) <= LONGEST_VALUE else f"{name[: LONGEST_VALUE - 3]}..." for name in islice(names, most))
    text = ", ".join(short) or "none"
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def counted(number: int, things: str) -> str:
    """Return a number with what it counts. ``things`` are in the plural; its first word that ends in "s" is the noun.

    ::

        counted(1, "failed calls of other models")  # "1 failed call of other models"
    """
    return f"{number} {things if number != 1 else _NOUNS_END.sub('', things, count=1)}"


def short_number(value: float) -> str:
    """Return a number with four decimals, or with an exponent if it is too large or too small for that."""
    return f"{value:.4f}" if not value or 1e-4 <= abs(value) < 1e6 else f"{value:.4g}"


def printable(text: str) -> str:
    r"""Escape control and invisible characters as ``\x1b`` or ``\u202e``; newlines and tabs stay."""
    return _UNPRINTABLE.sub(_escaped, text)


def bounded(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return the printable text in at most ``limit`` bytes of UTF-8; of a longer one, both ends and the length."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > 2 * limit:  # cut it before looking at each character
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
    return f"\\x{number:02x}" if number < 1 << 8 else f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
