"""Packed varints to arrays and back, by numpy: whole chunks at a time, no loop over elements.

A varint holds seven bits a byte, lowest first; the top bit says that another byte follows; negative numbers are
64-bit two's complement and take ten bytes (https://protobuf.dev/programming-guides/encoding/).

Work goes in chunks that stay in the cache, which is both faster than whole-array passes and keeps the scratch memory
constant: beside the result, decoding a message of any size allocates a few megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client.errors import DecodeError

Array = np.ndarray[Any, Any]

CHUNK = 1 << 17  # varints per step, about; measured: larger is hardly faster, smaller pays for more steps
LONGEST = 10  # bytes of the longest varint
BLOCK = 1 << 18  # bytes per step when counting


def decode(data: bytes | bytearray | memoryview | Array, dtype: np.dtype[Any], limit: int | None = None) -> Array:
    """The varints of ``data``, cut to the width of the integer or bool ``dtype`` as protobuf does.

    Args:
        limit: how many are wanted; more are left out. Who knows it spares a pass over the bytes to count them.

    Raises DecodeError when the last varint is cut off or one is longer than ten bytes.
    """
    source = np.frombuffer(data, np.uint8)
    if source.size and source[-1] >= 0x80:
        raise DecodeError(f"expected a whole varint at the end of {source.size} bytes, got one that is cut off")
    sample = _count(source[:BLOCK])
    if sample == min(source.size, BLOCK) and (source < 0x80).all():  # class ids below 128, small counts, booleans
        return source[:limit].astype(dtype)
    room = _count(source) if limit is None else min(limit, source.size)
    out = np.empty(room, dtype)
    step = CHUNK * min(source.size, BLOCK) // max(1, sample) + LONGEST
    read = written = 0
    while read < source.size and written < room:
        values, used = _decode_chunk(source[read : read + step])
        values = values[: room - written]
        out[written : written + values.size] = values
        read += used
        written += values.size
    while read < source.size:  # what is not wanted must be varints all the same
        read += _decode_chunk(source[read : read + step])[1]
    return out[:written]


def _count(source: Array) -> int:
    """How many varints there are: the last byte of each is below 0x80."""
    return sum(int(np.count_nonzero(source[at : at + BLOCK] < 0x80)) for at in range(0, source.size, BLOCK))


def _decode_chunk(chunk: Array) -> tuple[Array, int]:
    """The first varints of this chunk, all that end in it unless they are more than a chunk has, and their bytes."""
    last = chunk < 0x80
    ends = last.nonzero()[0][:CHUNK]
    if not ends.size:
        raise DecodeError(f"expected varints of at most {LONGEST} bytes, got a longer one")
    used = int(ends[-1]) + 1
    chunk, last = chunk[:used], last[:used]
    if used <= 2 * ends.size and (last[1:] | last[:-1]).all():
        return _pairs(chunk, ends), used
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    more = ends - starts  # bytes after the first
    longest = int(more.max()) + 1
    if longest > LONGEST:
        raise DecodeError(f"expected varints of at most {LONGEST} bytes, got one of {longest}")
    return _long(chunk, starts, more, longest), used


def _pairs(chunk: Array, ends: Array) -> Array:
    """Varints of one or two bytes: computed at every byte, then picked at the ends; cheaper than gathering pieces."""
    padded = np.empty(chunk.size + 1, np.uint16)
    padded[0] = 0
    padded[1:] = chunk
    before = padded[:-1]
    low = before >> 7  # 1 where the byte before belongs to the same varint
    low *= np.uint16(0x7F)
    value = padded[1:] * (low + np.uint16(1))  # moves seven bits up where there are two bytes
    low &= before
    value |= low
    picked: Array = value.take(ends)
    return picked


_U64 = np.uint64
# By bytes after the first: which bits of eight bytes read at a varint's start belong to it.
_PAYLOAD = np.array([(1 << 8 * n) - 1 & 0x7F7F7F7F7F7F7F7F for n in range(1, 9)] + [0x7F7F7F7F7F7F7F7F] * 2, _U64)


def _long(chunk: Array, starts: Array, more: Array, longest: int) -> Array:
    """Varints of any length: the eight bytes at each start as one word, whose seven-bit groups are pushed together."""
    padded = np.zeros((chunk.size + 31) // 8 * 8, np.uint8)
    padded[: chunk.size] = chunk
    words = padded.view("<u8")
    # Two aligned loads and a shift beat numpy's unaligned gather.
    index = starts >> 3
    shift = ((starts & 7) << 3).view(_U64)
    x = words.take(index)
    x >>= shift
    np.subtract(64, shift, out=shift)
    index += 1
    y = words.take(index)
    y <<= shift  # a shift by 64 gives 0 in numpy
    x |= y
    x &= _PAYLOAD.take(more)
    for high, by in ((0x7F007F007F007F00, 1), (0x3FFF00003FFF0000, 2), (0x0FFFFFFF00000000, 4)):
        np.bitwise_and(x, _U64(high), out=y)
        x ^= y
        y >>= _U64(by)
        x |= y
    if longest > 8:
        x |= _byte(padded, starts, more, 8)
    if longest > 9:
        x |= _byte(padded, starts, more, 9)
    return x.view(np.int64)


def _byte(padded: Array, starts: Array, more: Array, n: int) -> Array:
    """Byte ``n`` of the varints that have one, at its place in the value."""
    byte = padded.take(starts + n)
    byte &= 0x7F
    byte *= more >= n
    wide = byte.astype(_U64)
    wide <<= _U64(7 * n)
    return wide


def encode(values: Array) -> bytes:
    """Integers or bools as packed varints; negative ones as the ten bytes of their 64-bit two's complement."""
    if values.dtype.kind == "b":
        return values.tobytes()
    if values.size and int(values.min()) >= 0 and int(values.max()) < 0x80:
        return values.astype(np.uint8).tobytes()
    return b"".join(_encode_chunk(values[at : at + CHUNK]) for at in range(0, values.size, CHUNK))


def _encode_chunk(values: Array) -> bytes:
    rest = values.astype(np.int64).view(_U64) if values.dtype.kind == "i" else values.astype(_U64)
    longest = max(1, -(-int(rest.max()).bit_length() // 7))
    groups = np.empty((rest.size, longest), np.uint8)  # every value as long as the longest; what is too much goes below
    keep = np.empty((rest.size, longest), np.bool_)
    keep[:, 0] = True
    for n in range(longest):
        groups[:, n] = rest  # its low byte; the top bit is set or cleared next
        rest >>= _U64(7)
        more = rest != 0
        groups[:, n] &= 0x7F
        groups[:, n] |= more.view(np.uint8) << 7
        if n + 1 < longest:
            keep[:, n + 1] = more
    return np.compress(keep.ravel(), groups.ravel()).tobytes()
