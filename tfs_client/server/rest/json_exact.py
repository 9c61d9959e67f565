"""The exact reader: every rule of the model server's JSON, every reason, every offset. It is slow and never recurses.

Source: RapidJSON's iterative parser (reader.h, error/en.h) as util/json_tensor.cc configures it: NaN and infinities are
allowed, and parsing stops after the root value.

What must hold: the time is linear in the length of the text, any depth is possible, and a long text does not hold up
other calls.

- The open containers are on a list, ``opened``, not on Python's stack, so that text may be nested as deeply as the
  model server accepts. A value that opens a container is ``OPENED``; its elements come next. A complete value is added
  to the innermost container, which may complete that one, and so on outwards.
- Every regular expression matches a bounded number of bytes. So each step is short, other threads run in between, and
  every few thousand steps the reader checks the call's deadline and whether its client still waits.
- ``ListReader`` reads most elements of long lists with a fast reader. Each attempt leaves the state as if this reader
  had read the elements, or unchanged.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from tfs_client.server.call_deadlines import check_call
from tfs_client.server.rest.json_lists import ListReader, ReadPiece
from tfs_client.server.rest.json_types import JsonValue, object_of

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

MAX_DEPTH = 500_000  # the model server has no limit, and is known to reach this depth
TOO_DEEP = f"More than {MAX_DEPTH} levels of nesting."

STEPS = 4096  # between two checks of the call
RUN = 1 << 18  # bytes of white space, or of a string, that one step reads

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
    """Invalid JSON: the reason and the offset in bytes. An empty text has no offset."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} at offset: {offset}")
        self.reason = reason
        self.offset = offset


class _Members(list[tuple[str, JsonValue]]):
    """An object that is still open: its members so far, and the name of the next member."""

    name = ""

    def closed(self) -> dict[str, JsonValue]:
        return object_of(list(self))


class _Signal(Enum):
    OPENED = "a container was opened, and its first value comes next"


OPENED: Final = _Signal.OPENED

_Container = list[JsonValue] | _Members


def read_exactly(data: bytes, read_piece: ReadPiece | None = None) -> JsonValue:
    """Read the root value of a text, past a byte-order mark. Whatever follows the value is ignored.

    Args:
        data: the text.
        read_piece: a faster reader for pieces of lists; None to read every value here.

    Raises Malformed for invalid JSON, DeadlineExceededError or CancelledError when the call has ended.
    """
    if not data:
        raise Malformed("The document is empty")
    return _Reader(data, read_piece).root()


class _Reader:
    def __init__(self, data: bytes, read_piece: ReadPiece | None) -> None:
        self.data = data
        self.at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.steps = STEPS
        self.lists = None if read_piece is None else ListReader(data, read_piece)

    def step(self) -> None:
        """Count a step; every STEPS steps check the call."""
        self.steps -= 1
        if self.steps <= 0:
            self.steps = STEPS
            check_call()

    def blank(self) -> bytes:
        """Skip white space, and return the byte after it; b"" at the end."""
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

    def root(self) -> JsonValue:
        if self.blank() in (b"", b"\0", b"}", b"]", b",", b":"):
            raise self.fail(EMPTY)
        opened: list[_Container] = []
        while True:
            self.step()
            if self.lists is not None and opened and not isinstance(container := opened[-1], _Members):
                self.read_elements(self.lists, container)
            value = self.value(opened)
            while value is not OPENED:
                if not opened:
                    return value
                value = self.add(opened, value)

    def value(self, opened: list[_Container]) -> JsonValue | _Signal:
        """Read the value that starts here; OPENED for a container that is not empty."""
        first = self.blank()
        if first == b"[":
            self.at += 1
            if self.blank() != b"]":
                self.open(opened, [])
                return OPENED
        elif first == b"{":
            self.at += 1
            if self.blank() != b"}":
                container = _Members()
                self.open(opened, container)
                self.name(container)
                return OPENED
        else:
            return self.string() if first == b'"' else self.scalar()
        self.at += 1
        return [] if first == b"[" else {}

    def read_elements(self, lists: ListReader, container: list[JsonValue]) -> None:
        """Read elements of a list piece by piece, as long as that succeeds."""
        while (end := lists.read_elements(self.at, container)) != self.at:
            self.at = end
            check_call()

    def open(self, opened: list[_Container], container: _Container) -> None:
        if len(opened) >= MAX_DEPTH:
            raise self.fail(TOO_DEEP)
        opened.append(container)

    def add(self, opened: list[_Container], value: JsonValue) -> JsonValue | _Signal:
        """Add a value to the innermost open container. Returns that container if it ends here, else OPENED."""
        container = opened[-1]
        if isinstance(container, _Members):
            container.append((container.name, value))
            if self.ends(b"}", NO_COMMA_IN_OBJECT):
                opened.pop()
                return container.closed()
            self.name(container)
            return OPENED
        container.append(value)
        if self.ends(b"]", NO_COMMA_IN_ARRAY):
            opened.pop()
            return container
        return OPENED

    def ends(self, bracket: bytes, reason: str) -> bool:
        """Read what follows a value in a container: its closing bracket, or a comma."""
        following = self.blank()
        if following not in (b",", bracket):
            raise self.fail(reason)
        self.at += 1
        return following == bracket

    def name(self, container: _Members) -> None:
        if self.blank() != b'"':
            raise self.fail(NO_NAME)
        container.name = self.string()
        if self.blank() != b":":
            raise self.fail(NO_COLON)
        self.at += 1

    # --- scalars -----------------------------------------------------------------------------------------------------

    def scalar(self) -> bool | int | float | None:
        found = _NUMBER.match(self.data, self.at)
        if found:
            return self.number(found)
        for word, value in _WORDS:
            if self.data.startswith(word, self.at):
                rest = self.data[self.at + len(word) :][:5]
                if word.endswith(b"Inf") and rest.startswith(b"i"):  # "Infi" can only be "Infinity"
                    break
                self.at += len(word)
                return value
        raise self.fail(INVALID, self.at + max(self.common(word) for word, _ in _WORDS))

    def common(self, word: bytes) -> int:
        """Count the bytes that the text here has in common with a word."""
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
        if 0xD800 <= code < 0xDC00:  # the first half of a surrogate pair; the second must follow
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


def _too_big(whole: bytes, fraction: bytes, power: bytes) -> bool:
    """Return whether RapidJSON refuses a number before it has computed its value.

    It checks the digits before the point, and then the exponent less the digits after the point, of which it counts
    about as many as a double can hold. An overflow that these checks miss becomes infinity. Here zero is never too big,
    whatever its exponent: the other readers accept it, and the result must not depend on the reader.
    """
    if len(whole) > 310 or (len(whole) > 308 and float(whole[:-1]) >= 1.7976931348623157e307):
        return True
    if len(power) < 2 or not (whole + fraction).strip(b"0"):
        return False
    zeros = len(fraction) - len(fraction.lstrip(b"0")) if whole == b"0" else 0
    digits = max(0, zeros + 18 - (len(whole) if whole != b"0" else 1))
    return len(power.lstrip(b"0")) > 9 or int(power) > 308 + min(len(fraction), digits)
