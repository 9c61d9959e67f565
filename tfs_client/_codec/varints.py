"""Decode packed varints to arrays and encode them, with numpy and without a loop over elements.

A varint has seven bits per byte, lowest first; the top bit means that another byte follows; negative numbers are 64-bit
two's complement and take ten bytes (https://protobuf.dev/programming-guides/encoding/).

Strategy for decoding: a byte below 0x80 ends a varint, so one comparison of all bytes finds all ends, and each varint
starts after the previous end. The values are then computed by the longest varint of a chunk:

- one byte each: the bytes are the values;
- at most two bytes: a value is computed at every byte from it and the one before, and those at the ends are picked
  (``_pairs``);
- longer ones: the eight bytes at each start are loaded as a 64-bit word, masked to the varint's length, and their
  seven-bit groups are compacted in three steps, each of which joins neighbouring groups; bytes nine and ten are added
  (``_long``).

The work is done in chunks that fit in the cache. That is faster than passes over the whole array, and keeps the scratch
memory constant: apart from the result, a message of any size needs a few megabytes. Every byte must belong to a valid
varint, even those after the values that are wanted, so that malformed messages are always reported.
"""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import DecodeError

CHUNK = 1 << 17  # varints per step, roughly; measured: larger chunks are hardly faster, smaller ones slower
LONGEST = 10  # bytes of the longest varint
BLOCK = 1 << 18  # bytes per step when counting


def decode(
    data: bytes | bytearray | memoryview | Array, dtype: np.dtype[np.generic], limit: int | None = None
) -> Array:
    """Decode the varints of ``data``, cut to the width of the integer or bool ``dtype`` as protobuf does.

    Args:
        limit: the number of values to return; more are dropped. Without it, a pass over the bytes counts them.

    Raises DecodeError if the last varint is cut off or one is longer than ten bytes.
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
    while read < source.size:  # the rest must be valid varints, too
        read += _decode_chunk(source[read : read + step])[1]
    return out[:written]


def _count(source: Array) -> int:
    """Count the varints: the last byte of each is below 0x80."""
    return sum(int(np.count_nonzero(source[at : at + BLOCK] < 0x80)) for at in range(0, source.size, BLOCK))


def _decode_chunk(chunk: Array) -> tuple[Array, int]:
    """Decode at most CHUNK varints that end in this chunk; return them and their size in bytes."""
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
    """Decode varints of one or two bytes: compute a value at every byte, then pick those at the ends."""
    padded = np.empty(chunk.size + 1, np.uint16)
    padded[0] = 0
    padded[1:] = chunk
    before = padded[:-1]
    low = before >> 7  # 1 where the byte before belongs to the same varint
    low *= np.uint16(0x7F)
    value = padded[1:] * (low + np.uint16(1))  # shifted by seven bits where there are two bytes
    low &= before
    value |= low
    picked: Array = value.take(ends)
    return picked


_U64 = np.uint64
# By the number of bytes after the first: the payload bits among the eight bytes at a varint's start.
_PAYLOAD = np.array([(1 << 8 * n) - 1 & 0x7F7F7F7F7F7F7F7F for n in range(1, 9)] + [0x7F7F7F7F7F7F7F7F] * 2, _U64)


def _long(chunk: Array, starts: Array, more: Array, longest: int) -> Array:
    """Decode varints of any length: load the eight bytes at each start as a word, and compact its seven-bit groups."""
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
    """Return byte ``n`` of the varints that have one, shifted to its position in the value."""
    byte = padded.take(starts + n)
    byte &= 0x7F
    byte *= more >= n
    wide = byte.astype(_U64)
    wide <<= _U64(7 * n)
    return wide


def encode(values: Array) -> bytes:
    """Encode integers or bools as packed varints; negative ones as ten bytes of 64-bit two's complement."""
    if values.dtype.kind == "b":
        return values.tobytes()
    if values.size and int(values.min()) >= 0 and int(values.max()) < 0x80:
        return values.astype(np.uint8).tobytes()
    return b"".join(_encode_chunk(values[at : at + CHUNK]) for at in range(0, values.size, CHUNK))


def _encode_chunk(values: Array) -> bytes:
    rest = values.astype(np.int64).view(_U64) if values.dtype.kind == "i" else values.astype(_U64)
    longest = max(1, -(-int(rest.max()).bit_length() // 7))
    groups = np.empty(
        (rest.size, longest), np.uint8
    )  # every value as long as the longest; surplus bytes are dropped below
    keep = np.empty((rest.size, longest), np.bool_)
    keep[:, 0] = True
    for n in range(longest):
        groups[:, n] = rest  # the low byte; the top bit is set or cleared next
        rest >>= _U64(7)
        more = rest != 0
        groups[:, n] &= 0x7F
        groups[:, n] |= more.view(np.uint8) << 7
        if n + 1 < longest:
            keep[:, n + 1] = more
    return np.compress(keep.ravel(), groups.ravel()).tobytes()
