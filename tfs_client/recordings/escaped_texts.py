"""Escaped texts: where a text has given bytes, with or without the escapes of URLs, JSON, HTML and Python."""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterator

MOST_LAYERS = 3  # of escapes within escapes, such as a URL in JSON in a Python text

_ESCAPE = re.compile(
    rb"%([0-9A-Fa-f]{2})|\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\(.)"
    rb"|(&(?:\#[0-9]{1,5}|\#[xX][0-9A-Fa-f]{1,4}|[A-Za-z]{2,8});)",
    re.DOTALL,
)
_HEX = re.compile(rb"[0-9a-f]+")


def found_in(text: str, wanted: Collection[bytes]) -> list[tuple[int, int]]:
    """Return where a text has one of these bytes, in UTF-8: starts and stops, in order and without overlaps.

    Hexadecimal digits are found in upper case, too.
    """
    data = text.encode("utf-8", "surrogatepass")
    places = array("q", range(len(data)) if text.isascii() else _places(text))
    places.append(len(text))  # for each byte its character, and the end
    found: list[tuple[int, int]] = []
    for _ in range(MOST_LAYERS + 1):
        lowered = data.lower()
        for each in wanted:
            for start in _starts(lowered if _HEX.fullmatch(each) else data, each):
                found.append((places[start], places[start + len(each)]))
        before = len(data)
        data, places = _unescaped(data, places)
        if len(data) == before:
            break
    return _merged(found)


def unescaped(data: bytes) -> bytes:
    """Return bytes without what looks like escapes in them, as a text is searched for them."""
    for _ in range(MOST_LAYERS):
        data = _ESCAPE.sub(_value, data)
    return data


def _places(text: str) -> Iterator[int]:
    return (place for place, character in enumerate(text) for _ in character.encode("utf-8", "surrogatepass"))


def _starts(data: bytes, wanted: bytes) -> Iterator[int]:
    start = data.find(wanted)
    while start >= 0:
        yield start
        start = data.find(wanted, start + len(wanted))


def _unescaped(data: bytes, places: array[int]) -> tuple[bytes, array[int]]:
    """Remove one layer of escapes. The places of the bytes move with them."""
    pieces: list[bytes] = []
    moved = array("q")
    at = 0
    for match in _ESCAPE.finditer(data):
        start, value = match.start(), _value(match)
        pieces += data[at:start], value
        moved.extend(places[at:start])
        moved.extend([places[start]] * len(value))
        at = match.end()
    pieces.append(data[at:])
    moved.extend(places[at:])
    return b"".join(pieces), moved


def _value(match: re.Match[bytes]) -> bytes:
    of_url, of_python, of_json, character, of_html = match.groups()
    if byte := of_url or of_python:
        return bytes.fromhex(byte.decode())
    if of_json:
        return chr(int(of_json, 16)).encode("utf-8", "surrogatepass")
    if character:
        return bytes(character)
    from html import unescape  # slow to import

    return unescape(of_html.decode()).encode("utf-8", "surrogatepass")


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found
