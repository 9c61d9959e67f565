"""JSON that is almost right: trees with other types, depths, numbers, names given twice, and encodings.

A tree is what Python's json makes of a text, but objects are lists of pairs (``Members``), so that names may repeat,
and ``Raw`` is a piece of text that is written unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from .mutations_bytes import changed


class Raw(str):
    """Text that is written as it stands."""


class Members(list):
    """The members of an object: pairs of name and value."""


NUMBERS = [
    *[
        "0",
        "-0",
        "1",
        "-1",
        "255",
        "256",
        "65535",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "4294967295",
        "4294967296",
    ],
    *["9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"],
    *[
        "18446744073709551615",
        "18446744073709551616",
        "0.0",
        "-0.0",
        "1.0",
        "1.5",
        "1e5",
        "1E+2",
        "1e-400",
        "5e-324",
        "1e38",
        "3.5e38",
        "1e300",
    ],
    *[
        "1e308",
        "1.8e308",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "-NaN",
        "Inf",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x1",
        "1_0",
        "--1",
    ],
    "9" * 40,
    "9" * 5000,
    "0." + "1" * 400,
    "1e" + "9" * 30,
]
STRINGS = [
    *[
        '""',
        '"a"',
        '"1"',
        '"true"',
        '"NaN"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\x41"',
        '"\\u12"',
        '"é"',
        '"YQ=="',
        '"YQ"',
    ],
    '"' + "x" * 300 + '"',
    '"\\u001b[2J"',
    '"a\nb"',
    '"YQ= ="',
    '"unterminated',
    '"b64"',
]
OTHERS = [
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[[]]",
    "[[], [1]]",
    "[null]",
    "[1, 1.5]",
    '{"b64": "YQ=="}',
    '{"b64": 1}',
]
OTHERS += [
    '{"b64": "Y", "b64": "YQ=="}',
    '{"": {}}',
    "nul",
    "True",
    "[1,]",
    "[1 2]",
    '{"a" 1}',
    "{1: 2}",
    "/**/1",
    "",
    "]",
]
DEPTHS = (2, 5, 31, 33, 64, 65, 66, 200, 1000, 3000)


def tree(value: Any) -> Any:
    """Python's values as a tree."""
    if isinstance(value, dict):
        return Members([(name, tree(inner)) for name, inner in value.items()])
    if isinstance(value, list):
        return [tree(inner) for inner in value]
    return value


class Mutations:
    """Makes texts of valid values."""

    def __init__(self, valid: Sequence[Any]) -> None:
        self._valid = [tree(value) for value in valid]

    def __call__(self, rng: Random) -> bytes:
        """One more input."""
        value = self._valid[int(rng.random() * len(self._valid))]
        for _ in range(1 if rng.random() < 0.6 else 1 + int(rng.random() * 4)):
            value = self._mutated(value, rng)
        data = text(value).encode("utf-8", "surrogateescape")
        pick = rng.random()
        if pick < 0.10:
            return changed(data, rng)
        if pick < 0.14:
            return _encoded(data, rng)
        return data

    def _mutated(self, value: Any, rng: Random) -> Any:
        if isinstance(value, list) and value and rng.random() < 0.8:
            at = int(rng.random() * len(value))
            out = type(value)(value)
            if isinstance(value, Members):
                name, inner = value[at]
                out[at] = (name, self._mutated(inner, rng))
            else:
                out[at] = self._mutated(value[at], rng)
            return out
        return self._edited(value, rng)

    def _edited(self, value: Any, rng: Random) -> Any:
        pick = rng.random()
        if pick < 0.25:
            return Raw(rng.choice(NUMBERS))
        if pick < 0.35:
            return Raw(rng.choice(STRINGS))
        if pick < 0.45:
            return Raw(rng.choice(OTHERS))
        if pick < 0.52:
            return [value] * (1 if rng.random() < 0.7 else 2)
        if pick < 0.57:
            depth = rng.choice(DEPTHS)
            return Raw("[" * depth + (text(value) if depth < 100 else "1") + "]" * (depth - (rng.random() < 0.1)))
        if pick < 0.60:
            depth = rng.choice(DEPTHS)
            return Raw('{"a":' * depth + "1" + "}" * depth)
        if pick < 0.66:
            other = self._valid[int(rng.random() * len(self._valid))]
            while isinstance(other, list) and other and rng.random() < 0.7:
                other = rng.choice(other)
                other = other[1] if isinstance(other, tuple) else other
            return other
        if isinstance(value, list):
            return self._list(value, rng)
        if isinstance(value, str) and not isinstance(value, Raw) and rng.random() < 0.5:
            return value[: int(rng.random() * len(value))] + rng.choice(("", "x", "\0", "é", "\udcff"))
        return value if pick < 0.7 else Raw(rng.choice(NUMBERS + OTHERS))

    def _list(self, value: Any, rng: Random) -> Any:
        out, pick = type(value)(value), rng.random()
        at = int(rng.random() * (len(out) + 1))
        extra: Any = out[at - 1] if out else Raw(rng.choice(NUMBERS))
        if isinstance(value, Members):
            name = rng.choice(("b64", "", "x", "y", "error", "predictions", "outputs", "\udcff", "é" * 30))
            if not out or pick < 0.2:
                out.insert(at, (name, rng.choice((1, None, [], "a", True, 1.5))))
                return out
            if pick < 0.4:
                out[at - 1] = (name, extra[1])
                return out
            if pick < 0.6:  # a name given twice
                out.insert(at, (extra[0], self._edited(extra[1], rng)))
                return out
        if pick < 0.7 and out:
            del out[at - 1]
        elif pick < 0.85:
            out.insert(at, extra)
        elif pick < 0.95:
            rng.shuffle(out)
        else:
            out += out * (1 if pick < 0.99 else 30)
        return out


def text(value: Any) -> str:
    """A tree as JSON."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Members):
        return "{" + ",".join([f"{_string(name)}:{text(inner)}" for name, inner in value]) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(value: str) -> str:
    """Bytes that are not UTF-8 stay unchanged."""
    return json.dumps(value, ensure_ascii=False)


def _encoded(data: bytes, rng: Random) -> bytes:
    pick = int(rng.random() * 7)
    if pick == 0:
        return b"\xef\xbb\xbf" + data
    if pick == 1:
        return data.decode(errors="replace").encode("utf-16")
    if pick == 2:
        return data + rng.choice((b" ", b"\n{}", b"x", b"\0", b",", b"]"))
    if pick == 3:
        return data.replace(b",", rng.choice((b" , ", b"\t,\r\n", b",,", b";", b"\x0b,")))
    if pick == 4:
        return data.decode(errors="replace").encode("latin-1", "replace")
    if pick == 5:
        return data.replace(b'"', b"'")
    return rng.choice((b"", b" ", b"null", b"[]", b"\xff\xfe", b"\0" * 8))
