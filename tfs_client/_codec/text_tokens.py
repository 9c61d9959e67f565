"""Split protobuf text into tokens as C++ protobuf does: the same tokens, errors, lines and columns.

Source: google/protobuf/io/tokenizer.cc, as TextFormat::Parser sets it up.
"""

from __future__ import annotations

import re
from enum import Enum


class Kind(Enum):
    """The kinds of tokens."""

    IDENTIFIER = "identifier"
    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    SYMBOL = "symbol"
    URL = "characters of a type URL"
    END = "end"


class TextFormatError(Exception):
    """The text is not the expected message.

    Attributes:
        line: the line, counted from 1.
        column: the column, counted from 1 as in C++: in bytes, with tab stops every 8 columns.
        reason: C++ protobuf's error text.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"{line}:{column}: {reason}")
        self.line, self.column, self.reason = line, column, reason


_BLANKS = " \t\n\v\f\r"

# One of the groups always matches after the blanks, so the engine never backtracks into them.
_TOKEN = re.compile(
    rf"[{_BLANKS}]*(?:"
    r"([A-Za-z_][A-Za-z0-9_]*)"
    r"|([{}:<>\[\],;-])"
    r"|([\"'])"
    r"|(\.?[0-9])"
    r"|(#[^\0\n]*)"
    r"|([\0-\x08\x0e-\x1f])"
    r"|([^\0-\x20])"
    r"|(\Z))"
)
_IDENTIFIER, _PLAIN_SYMBOL, _QUOTE, _DIGIT, _COMMENT, _CONTROL, _OTHER_SYMBOL, _END = range(1, 9)

_URL = re.compile(r"[A-Za-z0-9_\-.~!$&()*+,;=%/]+")

_NUMBER = re.compile(
    r"(?P<hex>0[xX])[0-9a-fA-F]*|(?P<octal>0)[0-9]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?P<exponent>[eE][-+]?)?[0-9]*[fF]?"
)
_NOT_OCTAL = re.compile("[89]")

_ESCAPE = r"\\(?:[abfnrtv\\?'\"0-7]|[xX][0-9a-fA-F]|u[0-9a-fA-F]{4}|U00[01][0-9a-fA-F]{5})"
# Limited repetitions, because the regular expression engine keeps a state for each.
_WITHIN = {quote: re.compile(rf"[^{quote}\\\0\n]*(?:{_ESCAPE}[^{quote}\\\0\n]*){{0,1000}}") for quote in "\"'"}
_LONG_ESCAPES = (
    ("u", re.compile("[0-9a-fA-F]{0,4}"), "Expected four hex digits for \\u escape sequence."),
    (
        "U",
        re.compile("(?:0(?:0(?:[01][0-9a-fA-F]{0,5})?)?)?"),
        "Expected eight hex digits up to 10ffff for \\U escape sequence",
    ),
)


class Tokens:
    """Protobuf text, one token at a time.

    Attributes:
        kind: the kind of the current token.
        text: its text, with one character for each byte; "" at the end.
        start: its offset.
        end: the offset after it.
    """

    __slots__ = ("_data", "end", "kind", "start", "text")

    def __init__(self, data: bytes) -> None:
        self._data = data.decode("latin-1")
        self.kind, self.text = Kind.SYMBOL, ""
        self.start = self.end = 0
        self.next()

    def next(self) -> None:
        """Advance to the next token. Raises TextFormatError."""
        before, after = self.kind, self.end
        group = self._find()
        if group == _IDENTIFIER:
            self.kind = Kind.IDENTIFIER
        elif group == _QUOTE:
            self.kind, self.end = Kind.STRING, self._end_of_string()
        elif group == _DIGIT:
            if before is Kind.IDENTIFIER and after == self.start and self._data[after] == ".":
                raise self.error("Need space between identifier and decimal point.")
            self.kind, self.end = self._number()
        self.text = self._data[self.start : self.end]

    def next_of_url(self) -> None:
        """Advance to the next token by the rules within the brackets of a type URL. Raises TextFormatError."""
        self._find()
        if url := _URL.match(self._data, self.start):
            self.kind, self.end = Kind.URL, url.end()
        self.text = self._data[self.start : self.end]

    def error(self, reason: str, at: int | None = None) -> TextFormatError:
        """Return an error at an offset, by default that of the current token."""
        at = self.start if at is None else at
        line_start = self._data.rfind("\n", 0, at) + 1
        *tabbed, rest = self._data[line_start:at].split("\t")
        column = len(rest) + 1
        for part in tabbed:
            column += len(part) // 8 * 8 + 8
        reason = reason.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")
        return TextFormatError(self._data.count("\n", 0, at) + 1, column, reason)

    def _find(self) -> int:
        """Advance to the beginning of the next token, as a symbol for now. Return its group of ``_TOKEN``."""
        match = _TOKEN.match(self._data, self.end)
        while match is not None and match.lastindex == _COMMENT:
            match = _TOKEN.match(self._data, match.end())
        assert match is not None  # one of the groups matches anything
        group = match.lastindex or 0
        self.kind = Kind.SYMBOL if group != _END else Kind.END
        self.start, self.end = match.span(group)
        if group == _CONTROL:
            raise self.error("Invalid control characters encountered in text.")
        if group == _OTHER_SYMBOL and match[group] > "\x7f":
            raise self.error(f"Interpreting non ascii codepoint {ord(match[group])}.")
        return group

    def _end_of_string(self) -> int:
        """Return the offset after the string that begins here."""
        quote = self._data[self.start]
        at = self.start + 1
        while (match := _WITHIN[quote].match(self._data, at)) and match.end() > at:
            at = match.end()
        if self._data[at : at + 1] == quote:
            return at + 1
        if self._data[at : at + 1] == "\n":
            raise self.error('Multiline strings are not allowed. Did you miss a "?.', at)
        if self._data[at : at + 1] == "\\":
            raise self._bad_escape(at + 1)
        raise self.error("Unexpected end of string.", at)

    def _bad_escape(self, at: int) -> TextFormatError:
        letter = self._data[at : at + 1]
        if letter in ("x", "X"):
            return self.error("Expected hex digits for escape sequence.", at + 1)
        for name, digits, reason in _LONG_ESCAPES:
            if letter == name:
                found = digits.match(self._data, at + 1)
                return self.error(reason, found.end() if found else at + 1)
        return self.error("Invalid escape sequence in string literal.", at)

    def _number(self) -> tuple[Kind, int]:
        """Return the kind of the number that begins here, and the offset after it."""
        data = self._data
        match = _NUMBER.match(data, self.start)
        assert match is not None  # it begins with a digit, or a point before one
        text, end = match[0], match.end()
        if match["hex"] and len(text) == 2:
            raise self.error('"0x" must be followed by hex digits.', end)
        if match["octal"] and (wrong := _NOT_OCTAL.search(text)):
            raise self.error("Numbers starting with leading zero must be in octal.", self.start + wrong.start())
        exponent = match.end("exponent")
        if exponent >= 0 and not "0" <= data[exponent : exponent + 1] <= "9":
            raise self.error('"e" must be followed by exponent.', exponent)
        kind = Kind.INTEGER if match["hex"] or text.isdigit() else Kind.FLOAT
        after = data[end : end + 1]
        if after.isascii() and (after.isalpha() or after == "_"):
            raise self.error("Need space between number and identifier.", end)
        if after == ".":
            raise self.error(
                "Hex and octal numbers must be integers."
                if kind is Kind.INTEGER
                else "Already saw decimal point or exponent; can't have another one.",
                end,
            )
        return kind, end
