"""Inflating in pieces gives what was compressed, however the bytes come; limits are exact."""

from __future__ import annotations

import zlib

import pytest

from tfs_client import DecodeError
from tfs_client._codec.inflating import PIECE, TAKEN, Inflation, TooLarge, inflated, inflation_of

WINDOWS = {"gzip": ("gzip", 31), "zlib": ("deflate", 15), "raw": ("deflate", -15)}


def compressed(data, window, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, window)
    return packer.compress(data) + packer.flush()


def fed(encoding, chunks, limit=None):
    inflation = Inflation(encoding, limit)
    for chunk in chunks:
        for _ in inflation.add(chunk):
            pass
    return inflation.whole()


# Ends of pieces: there zlib may hold back what the next call gives.
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 77])
@pytest.mark.parametrize("form", WINDOWS)
def test_inflating_returns_the_original_bytes(form, size):
    encoding, window = WINDOWS[form]
    for data in (bytes(size), bytes(range(256)) * (size // 256) + b"x" * (size % 256)):
        for level in (0, 9):
            packed = compressed(data, window, level)
            assert fed(encoding, [packed]) == data
            assert fed(encoding, [packed[:1], packed[1:-1], packed[-1:]]) == data
            assert fed(encoding, [packed], limit=size) == data
            if size:
                with pytest.raises(TooLarge):
                    fed(encoding, [packed], limit=size - 1)


@pytest.mark.parametrize("form", WINDOWS)
def test_bytes_may_come_one_by_one_and_none_may_be_missing(form):
    encoding, window = WINDOWS[form]
    packed = compressed(b"abc" * 50, window)
    assert fed(encoding, [packed[at : at + 1] for at in range(len(packed))]) == b"abc" * 50
    for cut in range(1, len(packed)):
        with pytest.raises(DecodeError, match="ends too early"):
            fed(encoding, [packed[:cut]])
    for more in (b"\0", packed):
        with pytest.raises(DecodeError, match="bytes follow the end"):
            fed(encoding, [packed, more])


def test_a_piece_of_work_is_small():
    inflation = Inflation("gzip", None)
    before = 0
    for _ in inflation.add(compressed(bytes(20 * PIECE), 31)):
        assert inflation._plain.tell() - before <= PIECE
        before = inflation._plain.tell()
    assert TAKEN < PIECE


@pytest.mark.parametrize("message", [b"", b"\x0a\x00", b"\x1f", b"\x78", b"\x78\x00", b"\x1f\x8c", b"\x08\x01"])
def test_uncompressed_messages_are_unchanged(message):
    assert inflation_of(message, None) is None
    assert inflated(message, 0) is message
