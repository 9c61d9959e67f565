"""The exact reader: every rule of the model server's JSON, every reason, every offset. Slow, and never recursive.

Source: the contract's section on JSON text; RapidJSON's iterative parser (reader.h, error/en.h) as util/json_tensor.cc
sets it up: NaN and infinities allowed, done when the root value is.

It ends with the call: every few thousand steps it checks the deadline and whether the client still waits. No single
step holds the interpreter for long, so other calls go on; ``json_leaps`` makes it fast.
"""

from __future__ import annotations

import re
from typing import Any

from tfs_client.server.deadlines import check_call
from tfs_client.server.rest.json_leaps import Leaps, ReadPiece

EMPTY = "The document is empty."
INVALID = "Invalid value."
NO_NAME = "Missing a name for object member."
NO_COLON = "Missing a colon after a name of object member."
NO_COMMA_IN_OBJECT = "Missing a comma or '}' after an object member."
NO_COMMA_IN_ARRAY = "Missing a comma or ']' after an array element."
BAD_HEX = "Incorrect hex digit after \\u escape in string."
BAD_SURROGATE = "The surrogate pair in string is invalid."
BAD_ESCAPE = "Invalid escape character in string."
NO_QUOTE = "Missing a closing quotation mark in string."
TOO_BIG = "Number too big to be stored in double."
NO_FRACTION = "Miss fraction part in number."
NO_EXPONENT = "Miss exponent in number."

MAX_DEPTH = 500_000  # as deep as the model server, which has no limit of its own, is known to go
TOO_DEEP = f"More than {MAX_DEPTH} levels of nesting."

STEPS = 4096  # between two looks at the call
RUN = 1 << 18  # bytes of white space, or of a string, that one step passes over

_BLANK = re.compile(rb"[ \t\r\n]{0,%d}" % RUN)
_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f]{0,%d}' % RUN)
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(?:(\.)([0-9]*))?(?:([eE])([+-]?)([0-9]*))?")
_WORDS = (
    (b"true", True),
    (b"false", False),
    (b"null", None),
    (b"NaN", float("nan")),
    (b"-NaN", float("nan")),
    (b"Infinity", float("inf")),
    (b"-Infinity", float("-inf")),
    (b"Inf", float("inf")),
    (b"-Inf", float("-inf")),
)
_ESCAPES = {
    b'"': b'"',
    b"\\": b"\\",
    b"/": b"/",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}


class Malformed(ValueError):
    """Text that is no JSON: why, and at which byte; no offset for no text at all."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} at offset: {offset}")
        self.reason = reason
        self.offset = offset


class Repeated(dict[str, Any]):
    """An object that names a member twice. As a dict it holds the first of each name; ``pairs`` has them all."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.pairs = pairs


class _Members(list[tuple[str, Any]]):
    """An object that is still open: its members so far, and the name whose value comes next."""

    name = ""

    def closed(self) -> dict[str, Any]:
        value = dict(self)
        return value if len(value) == len(self) else Repeated(list(self))


def read_exactly(data: bytes, read_piece: ReadPiece | None = None) -> Any:
    """The root value of the text; a byte-order mark before it and anything behind it are passed over.

    Args:
        data: the text.
        read_piece: reads the elements of lists piece by piece, which is faster; None for reading every value here.

    Raises Malformed, and DeadlineExceededError or CancelledError once nobody waits for the call any more.
    """
    if not data:
        raise Malformed("The document is empty")
    return _Reader(data, read_piece).root()


class _Reader:
    def __init__(self, data: bytes, read_piece: ReadPiece | None) -> None:
        self.data = data
        self.at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.steps = STEPS
        self.leaps = None if read_piece is None else Leaps(data, read_piece)

    def step(self) -> None:
        """One step more; from time to time a look at the call."""
        self.steps -= 1
        if self.steps <= 0:
            self.steps = STEPS
            check_call()

    def blank(self) -> bytes:
        """Pass over white space; the byte after it, b"" at the end."""
        byte = self.data[self.at : self.at + 1]
        if byte > b" ":
            return byte
        while True:
            start, self.at = self.at, _BLANK.match(self.data, self.at).end()  # type: ignore[union-attr]
            if self.at - start < RUN:
                return self.data[self.at : self.at + 1]
            check_call()

    def fail(self, reason: str, at: int | None = None) -> Malformed:
        return Malformed(reason, self.at if at is None else at)

    def root(self) -> Any:
        if self.blank() in (b"", b"\0", b"}", b"]", b",", b":"):
            raise self.fail(EMPTY)
        opened: list[list[Any]] = []
        while True:
            self.step()
            if self.leaps is not None and opened and type(opened[-1]) is list:
                self.leap(self.leaps, opened[-1])
            value = self.value(opened)
            while value is not _OPENED:
                if not opened:
                    return value
                value = self.add(opened, value)

    def value(self, opened: list[list[Any]]) -> Any:
        """The value that starts here; _OPENED for a container that has something in it."""
        first = self.blank()
        if first == b"[":
            self.at += 1
            if self.blank() != b"]":
                self.open(opened, [])
                return _OPENED
        elif first == b"{":
            self.at += 1
            if self.blank() != b"}":
                self.open(opened, _Members())
                self.name(opened[-1])
                return _OPENED
        else:
            return self.string() if first == b'"' else self.scalar()
        self.at += 1
        return [] if first == b"[" else {}

    def leap(self, leaps: Leaps, container: list[Any]) -> None:
        """Read elements of a list piece by piece, as far as that goes."""
        while (end := leaps.leap(self.at, container)) != self.at:
            self.at = end
            check_call()

    def open(self, opened: list[list[Any]], container: list[Any]) -> None:
        if len(opened) >= MAX_DEPTH:
            raise self.fail(TOO_DEEP)
        opened.append(container)

    def add(self, opened: list[list[Any]], value: Any) -> Any:
        """Put a value into the innermost open container; that one if it ends here, else _OPENED: a value is due."""
        container = opened[-1]
        named = type(container) is _Members
        container.append((container.name, value) if named else value)  # type: ignore[attr-defined]
        following = self.blank()
        if following == b",":
            self.at += 1
            if named:
                self.name(container)
            return _OPENED
        if following != (b"}" if named else b"]"):
            raise self.fail(NO_COMMA_IN_OBJECT if named else NO_COMMA_IN_ARRAY)
        self.at += 1
        opened.pop()
        return container.closed() if isinstance(container, _Members) else container

    def name(self, container: Any) -> None:
        if self.blank() != b'"':
            raise self.fail(NO_NAME)
        container.name = self.string()
        if self.blank() != b":":
            raise self.fail(NO_COLON)
        self.at += 1

    # --- scalars -----------------------------------------------------------------------------------------------------

    def scalar(self) -> Any:
        found = _NUMBER.match(self.data, self.at)
        if found:
            return self.number(found)
        for word, value in _WORDS:
            if self.data.startswith(word, self.at):
                rest = self.data[self.at + len(word) :][:5]
                if word.endswith(b"Inf") and rest.startswith(b"i"):  # "Infi" must go on
                    break
                self.at += len(word)
                return value
        raise self.fail(INVALID, self.at + max(self.common(word) for word, _ in _WORDS))

    def common(self, word: bytes) -> int:
        """How many bytes the text here has in common with a word."""
        size = 0
        while size < len(word) and self.data[self.at + size : self.at + size + 1] == word[size : size + 1]:
            size += 1
        return size

    def number(self, found: re.Match[bytes]) -> int | float:
        whole, point, fraction, exponent, sign, power = found.groups()
        start, self.at = self.at, found.end()
        if point and not fraction:
            raise self.fail(NO_FRACTION, found.end(2))
        if exponent and not power:
            raise self.fail(NO_EXPONENT)
        if _too_big(whole, fraction or b"", power if exponent and sign != b"-" else b""):
            raise self.fail(TOO_BIG, start)
        if not point and not exponent and len(whole) <= 20:
            value = int(found.group())
            if -(1 << 63) <= value < 1 << 64:
                return value
        return float(found.group())

    # --- strings -----------------------------------------------------------------------------------------------------

    def string(self) -> str:
        self.at += 1
        parts: list[bytes] = []
        while True:
            plain = _PLAIN_TEXT.match(self.data, self.at)
            parts.append(plain.group())  # type: ignore[union-attr]
            self.at = plain.end()  # type: ignore[union-attr]
            self.step()
            if len(parts[-1]) == RUN:
                continue
            byte = self.data[self.at : self.at + 1]
            if byte == b'"':
                self.at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte != b"\\":
                raise self.fail(NO_QUOTE if byte in (b"", b"\0") else BAD_ESCAPE)
            parts.append(self.escape())

    def escape(self) -> bytes:
        start, letter = self.at, self.data[self.at + 1 : self.at + 2]
        self.at += 2
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter != b"u":
            raise self.fail(BAD_ESCAPE, start)
        code = self.hex(start)
        if 0xD800 <= code < 0xDC00:  # the first half of a pair; the second must follow
            if not self.data.startswith(b"\\u", self.at):
                raise self.fail(BAD_SURROGATE, start)
            self.at += 2
            low = self.hex(start)
            if not 0xDC00 <= low < 0xE000:
                raise self.fail(BAD_SURROGATE, start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code).encode("utf-8", "surrogatepass")

    def hex(self, start: int) -> int:
        found = _HEX.match(self.data, self.at)
        if not found:
            raise self.fail(BAD_HEX, start)
        self.at += 4
        return int(found.group(), 16)


_OPENED: Any = object()


def _too_big(whole: bytes, fraction: bytes, power: bytes) -> bool:
    """Whether RapidJSON gives the number up before it has a value.

    It looks at the digits before the point, and then at the exponent less the digits after the point, of which it
    counts about as many as a double can hold. An overflow that this does not find ends as infinity. Here zero is never
    too big, whatever its exponent: no other reader minds, and the results must not depend on the reader.
    """
    if len(whole) > 310 or (len(whole) > 308 and float(whole[:-1]) >= 1.7976931348623157e307):
        return True
    if len(power) < 2 or not (whole + fraction).strip(b"0"):
        return False
    zeros = len(fraction) - len(fraction.lstrip(b"0")) if whole == b"0" else 0
    digits = max(0, zeros + 18 - (len(whole) if whole != b"0" else 1))
    return len(power.lstrip(b"0")) > 9 or int(power) > 308 + min(len(fraction), digits)
