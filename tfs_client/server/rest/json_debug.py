"""Values printed as JSON inside error texts, and strings printed as JSON anywhere.

Source: util/json_tensor.cc (JsonValueToDebugString) over RapidJSON's PrettyWriter: objects over several lines, arrays
on one, and no more than a glimpse of what is long.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Any

from tfs_client.server.rest.json_text import members

GLIMPSE = 256  # bytes after which nothing more is begun
INDENT = "    "

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of a surrogate pair, and no byte of a text that is no UTF-8
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A JSON string. Slashes, DEL and whatever is no ASCII stay as they are."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def utf8(text: str) -> bytes:
    """Text as bytes. Bytes that are no UTF-8 go out as they came; what no bytes stand for is U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a model's own text: no request brings any
        return _HALF.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return _SHORT.get(character) or f"\\u{ord(character):04X}"


def type_name(value: Any) -> str:
    """What RapidJSON calls the value's type."""
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    if isinstance(value, (dict, list)):
        return "Object" if isinstance(value, dict) else "Array"
    return "String" if isinstance(value, str) else "Number"


def debug_text(value: Any) -> str:
    """The value as error texts show it; it ends early when it grows long, and before the first NaN or infinity."""
    glimpse = _Glimpse()
    with suppress(_Enough):
        glimpse.value("", value, 0)
    return "".join(glimpse.parts)


class _Enough(Exception):
    """Nothing more is to be written."""


class _Glimpse:
    """Writes value by value, until there is enough."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0

    def item(self, before: str, text: str | None) -> None:
        """What begins or ends, with what goes before it; None for a number that cannot be written."""
        if self.size >= GLIMPSE:
            raise _Enough
        self.parts += [before, text or ""]
        self.size += len((before + (text or "")).encode("utf-8", "surrogateescape"))
        if text is None:
            raise _Enough

    def value(self, before: str, value: Any, level: int) -> None:
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


def _scalar(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    return shortest(value) if math.isfinite(value) else None


def shortest(value: float) -> str:
    """A double as RapidJSON prints it: the fewest digits, an exponent only outside of 1e-6 … 1e21."""
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
    """Sign, digits and exponent: value = sign digits * 10**exponent, without zeros at either end."""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    trimmed = digits.rstrip("0")
    sign = "-" if math.copysign(1, value) < 0 else ""
    return (sign, trimmed, exponent + len(digits) - len(trimmed)) if trimmed else (sign, "0", 0)
