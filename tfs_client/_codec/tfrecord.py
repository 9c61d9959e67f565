"""Read and write TFRecord files: consecutive records with their length, and checksums (masked CRC-32C) of both.

A record is the length as uint64, the checksum of these eight bytes, the data, and the checksum of the data; all
little-endian (tensorflow/core/lib/io/record_writer.h).

Strategy: CRC is linear, so the checksum of some data is the exclusive or of the contributions of its words. numpy
computes it as a tree: it folds pairs of neighbouring words into one word each, then pairs of these, and so on. To fold
a pair, the left word is advanced over the bytes of the right one, with four tables for each level. This reaches 200 to
350 MB/s for records of 64 KB and more, against 10 MB/s for a loop over bytes, which is used for short records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import cache
from typing import BinaryIO

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import DecodeError

Words = Array  # of uint32

POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
MASK_DELTA = 0xA282EAD8
ONES = 0xFFFFFFFF

HEADER = 12  # bytes: the length and its checksum
FOOTER = 4
PIECE = 1 << 24  # bytes read from a file at once: a wrong length must not cause a huge allocation

LONGEST = (1 << 31) - 1  # bytes of a record: the limit of a protobuf message

SHORT = 1 << 10  # bytes; below, a loop over bytes is faster
BLOCK = 1 << 18  # bytes folded at once; the scratch memory fits in the cache


class CutOffRecordError(DecodeError):
    """A file ends within a record.

    Attributes:
        expected: the size of the whole record in bytes, with header and checksum.
        got: the bytes that the file has of it.
    """

    def __init__(self, at: int, expected: int, got: int) -> None:
        self.expected: int = expected
        self.got: int = got
        super().__init__(f"truncated record at {at}' failed with Read less bytes than requested")


# --- records -----------------------------------------------------------------------------------------------------


def read(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records from the file's current position to its end.

    An incomplete header at the end counts as the end. Raises DecodeError, with TensorFlow's texts, for a record that is
    cut off or whose checksums do not match; offsets count from the first record read.
    """
    at = 0
    while len(header := _exactly(file, HEADER)) == HEADER:
        if header[8:] != _checksum(header[:8]):
            hint = "" if at else " (Is this even a TFRecord file?)"
            raise DecodeError(f"corrupted record at {at}{hint}")
        (size,) = struct.unpack("<Q", header[:8])
        if size > LONGEST:
            raise DecodeError(f"truncated record at {at}: it claims {size} bytes, expected at most {LONGEST}")
        body = _exactly(file, size + FOOTER)
        if len(body) < size + FOOTER:
            raise CutOffRecordError(at, HEADER + size + FOOTER, HEADER + len(body))
        record = body[:size]
        if body[size:] != _checksum(record):
            raise DecodeError(f"corrupted record at {at + HEADER}")
        yield record
        at += HEADER + size + FOOTER


def length_in(header: bytes) -> int:
    """Return the length of the record that follows a header. Raises DecodeError for a header that is damaged or short.

    To pass over records without reading them.
    """
    if len(header) != HEADER or header[8:] != _checksum(header[:8]):
        raise DecodeError("expected the header of a record")
    (size,) = struct.unpack("<Q", header[:8])
    return int(size)


def framed(record: bytes) -> bytes:
    """Return one record as it is stored. Raises ValueError for one that no reader accepts."""
    if len(record) > LONGEST:
        raise ValueError(f"expected a record of at most {LONGEST} bytes, got {len(record)}")
    length = struct.pack("<Q", len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def write(file: BinaryIO, records: Iterable[bytes]) -> None:
    """Append records to a file."""
    for record in records:
        file.write(framed(record))


def _exactly(file: BinaryIO, size: int) -> bytes:
    """Read that many bytes, or fewer at the end of the file."""
    piece = file.read(min(size, PIECE))
    if len(piece) == size or not piece:
        return piece
    pieces = [piece]
    while piece and (size := size - len(piece)):
        piece = file.read(min(size, PIECE))
        pieces.append(piece)
    return b"".join(pieces)


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked(crc32c(data)))


def masked(crc: int) -> int:
    """Mask a checksum as it is stored, because checksums of data that contains checksums would be weak."""
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & ONES


# --- CRC-32C -----------------------------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes."""
    if len(data) < SHORT:
        return _loop(data, ONES) ^ ONES
    register, view = ONES, memoryview(data)
    for at in range(0, len(data), BLOCK):
        register = _folded(view[at : at + BLOCK], register)
    return register ^ ONES


def _loop(data: bytes | memoryview, register: int) -> int:
    table = _byte_table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _folded(data: memoryview, register: int) -> int:
    """Return the register after more bytes, by folding words."""
    if len(data) < SHORT:
        return _loop(data, register)
    padded = np.zeros((len(data) + 3) // 4 * 4, np.uint8)  # leading zeros do not change a register of zero
    own = padded[padded.size - len(data) :]
    own[:] = np.frombuffer(data, np.uint8)
    own[:4] ^= np.frombuffer(struct.pack("<I", register), np.uint8)
    words: Words = padded.view("<u4")
    level = 0
    while words.size > 1:
        if words.size % 2:
            words = np.concatenate((np.zeros(1, np.uint32), words))
        words = _advanced(words[0::2], level) ^ words[1::2]
        level += 1
    return int(_advanced(words, 0)[0])


def _advanced(words: Words, level: int) -> Words:
    """Advance each register over ``4 * 2**level`` bytes of zeros."""
    low, second, third, high = _tables(level)
    out: Words = low[words & 0xFF] ^ second[words >> 8 & 0xFF] ^ third[words >> 16 & 0xFF] ^ high[words >> 24]
    return out


@cache
def _byte_table() -> list[int]:
    """Return the contribution of each byte of the register when it is shifted out."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@cache
def _tables(level: int) -> tuple[Words, ...]:
    """Return, for each byte of a register, the contribution of its values after ``4 * 2**level`` bytes of zeros."""
    values = np.arange(256, dtype=np.uint32)
    if level:
        return tuple(_advanced(_advanced(values << shift, level - 1), level - 1) for shift in (0, 8, 16, 24))
    table = np.array(_byte_table(), np.uint32)
    rows = []
    for shift in (0, 8, 16, 24):
        words = values << np.uint32(shift)
        for _ in range(4):
            words = table[words & 0xFF] ^ words >> 8
        rows.append(words)
    return tuple(rows)
