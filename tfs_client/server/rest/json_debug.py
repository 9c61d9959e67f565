"""Values as JSON in error texts, abbreviated, and strings as JSON in any text.

Source: util/json_tensor.cc (JsonValueToDebugString) over RapidJSON's PrettyWriter: objects over several lines, arrays
on one, and only the beginning of a long value.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress

from tfs_client.server.rest.json_types import JsonValue, members

MAX_DEBUG = 256  # bytes after which no further value is started
INDENT = "    "

_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that do not stand for a byte of invalid UTF-8
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """Return the JSON string for a text. Slashes, DEL and non-ASCII characters are not escaped."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def utf8(text: str) -> bytes:
    """Encode a text. Bytes of invalid UTF-8 are sent as they were received; other lone surrogates become U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a model's own text: requests have no such surrogates
        return _LONE.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return _SHORT.get(character) or f"\\u{ord(character):04X}"


def type_name(value: JsonValue) -> str:
    """Return RapidJSON's name for the type of a value."""
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    if isinstance(value, (dict, list)):
        return "Object" if isinstance(value, dict) else "Array"
    return "String" if isinstance(value, str) else "Number"


def debug_text(value: JsonValue) -> str:
    """Return a value as error texts show it; a long one is cut off, and any before its first NaN or infinity."""
    writer = _DebugWriter()
    with suppress(_CutOff):
        writer.value("", value, 0)
    return "".join(writer.parts)


class _CutOff(Exception):
    """The text ends here."""


class _DebugWriter:
    """Writes value by value, until the text is long enough."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0

    def item(self, before: str, text: str | None) -> None:
        """Write a token with the separator before it; None for a number that cannot be written."""
        if self.size >= MAX_DEBUG:
            raise _CutOff
        self.parts += [before, text or ""]
        self.size += len((before + (text or "")).encode("utf-8", "surrogateescape"))
        if text is None:
            raise _CutOff

    def value(self, before: str, value: JsonValue, level: int) -> None:
        if isinstance(value, dict):
            self.item(before, "{")
            for index, (name, inner) in enumerate(members(value)):
                self.item((",\n" if index else "\n") + INDENT * (level + 1), quoted(name))
                self.value(": ", inner, level + 1)
            self.item("\n" + INDENT * level if value else "", "}")
        elif isinstance(value, list):
            self.item(before, "[")
            for index, inner in enumerate(value):
                self.value(", " if index else "", inner, level + 1)
            self.item("", "]")
        else:
            self.item(before, _scalar(value))


def _scalar(value: bool | int | float | str | None) -> str | None:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    return shortest(value) if math.isfinite(value) else None


def shortest(value: float) -> str:
    """Print a double as RapidJSON does: with the fewest digits, and an exponent only outside of 1e-6 … 1e21."""
    sign, digits, exponent = _parts(value)
    point = len(digits) + exponent  # where the point stands among the digits
    if exponent >= 0 and point <= 21:
        return f"{sign}{digits}{'0' * exponent}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1}"


def _parts(value: float) -> tuple[str, str, int]:
    """Return sign, digits and exponent: value = sign digits * 10**exponent, without zeros at either end."""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    trimmed = digits.rstrip("0")
    sign = "-" if math.copysign(1, value) < 0 else ""
    return (sign, trimmed, exponent + len(digits) - len(trimmed)) if trimmed else (sign, "0", 0)
