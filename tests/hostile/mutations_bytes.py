"""Changes to bytes that need no format, and the numbers at which readers break."""

from __future__ import annotations

import struct
from random import Random

EDGES = sorted(
    {
        value + step
        for value in (
            0,
            *(1 << bits for bits in (7, 8, 14, 15, 16, 20, 21, 24, 28, 29, 31, 32, 35, 40, 53, 62, 63, 64)),
        )
        for step in (-1, 0, 1)
        if value + step >= 0
    }
    | {2, 3, 4, 5, 9, 26, 64, 65, 100, 1000, 4300, 10**19}
)
CLAMPED = [value & 0xFFFFFFFFFFFFFFFF for value in EDGES]
FLOATS = [0.0, -0.0, 1.0, 1e-45, 1e-308, 3.4028235e38, 3.5e38, 1e300, float("inf"), float("-inf"), float("nan")]
TEXTS = [
    b"",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",  # half a surrogate pair
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    "é😀".encode(),
    b"\x1b[2J\x1b]0;x\x07",
    b"a" * 300,
    b"\r\nX: y",
]


def number(rng: Random) -> int:
    """An unsigned 64-bit number, mostly one at an edge."""
    pick = rng.random()
    if pick < 0.45:
        return int(rng.random() * 20)
    if pick < 0.85:
        return CLAMPED[int(rng.random() * len(CLAMPED))]
    if pick < 0.93:
        return -1 - int(rng.random() * 300) & 0xFFFFFFFFFFFFFFFF
    return rng.getrandbits(64)


def some_bytes(rng: Random, most: int = 12) -> bytes:
    """A few bytes: of one kind, random, or a text that readers trip over."""
    pick = rng.random()
    if pick < 0.3:
        return TEXTS[int(rng.random() * len(TEXTS))]
    if pick < 0.4:
        return struct.pack("<d", FLOATS[int(rng.random() * len(FLOATS))])
    size = int(rng.random() * most)
    if pick < 0.6:
        return bytes((rng.choice((0, 1, 5, 0x7F, 0x80, 0xFF)),)) * size
    return rng.randbytes(size)


def changed(data: bytes, rng: Random) -> bytes:
    """The bytes with one change."""
    size = len(data)
    at = int(rng.random() * (size + 1))
    pick = rng.random()
    if pick < 0.25 and at < size:
        return data[:at] + bytes((data[at] ^ 1 << int(rng.random() * 8),)) + data[at + 1 :]
    if pick < 0.40 and at < size:
        return data[:at] + bytes((rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF)),)) + data[at + 1 :]
    if pick < 0.50:
        return data[:at]
    if pick < 0.60:
        return data[:at] + data[at + 1 + int(rng.random() * 8) :]
    if pick < 0.75:
        return data[:at] + some_bytes(rng) + data[at:]
    if pick < 0.85:
        stop = at + 1 + int(rng.random() * 24)
        return data[:at] + data[at:stop] * rng.choice((2, 3, 10, 100)) + data[stop:]
    if pick < 0.92:
        width, form = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
        value = number(rng) & (1 << 8 * width) - 1
        return data[:at] + struct.pack(rng.choice("<>") + form, value) + data[at + width :]
    other = int(rng.random() * (size + 1))
    return data[:at] + data[other:]
