"""TFRecord files: written records are read back, and corruption is reported with TensorFlow's texts."""

from __future__ import annotations

import io
import os
import struct
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfs_client import DecodeError
from tfs_client._codec import tfrecord

HELLO = bytes.fromhex("0500000000000000 eab2043e 68656c6c6f bb1f1c19")
SIZES = [0, 1, 4, 7, 1023, 1024, 1025, 4097, tfrecord.BLOCK, tfrecord.BLOCK + 1, 2 * tfrecord.BLOCK + 4099]
THREE = [b"hello", b"", b"x" * 100]  # records at 0, 21 and 37; 153 bytes in all


def written(records):
    file = io.BytesIO()
    tfrecord.write(file, records)
    return file.getvalue()


def read(data):
    return list(tfrecord.read(io.BytesIO(data)))


def bitwise(data):
    """The definition of CRC-32C, one bit at a time."""
    register = tfrecord.ONES
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (tfrecord.POLYNOMIAL if register & 1 else 0)
    return register ^ tfrecord.ONES


def test_golden_bytes():
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.framed(b"hello") == HELLO
    assert read(HELLO) == [b"hello"]


# RFC 3720, B.4
@pytest.mark.parametrize(
    ("data", "crc"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"", 0)],
    ids=["zeros", "ones", "counting", "nothing"],
)
def test_known_checksums(data, crc):
    assert tfrecord.crc32c(data) == crc


@given(st.binary(max_size=3000))
def test_the_checksum_is_as_defined(data):
    assert tfrecord.crc32c(data) == bitwise(data)


@pytest.mark.parametrize("size", SIZES)
def test_long_data_has_the_same_checksum_by_words_as_by_bytes(size):
    data = os.urandom(size)
    assert tfrecord.crc32c(data) == tfrecord._loop(data, tfrecord.ONES) ^ tfrecord.ONES


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_written_records_are_read_back(records):
    assert read(written(records)) == records


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_no_flipped_bit_goes_unnoticed(records, data):
    broken = bytearray(written(records))
    place = data.draw(st.integers(0, 8 * len(broken) - 1))
    broken[place // 8] ^= 1 << place % 8
    with pytest.raises(DecodeError, match="corrupted record at"):
        read(bytes(broken))


@pytest.mark.parametrize(
    ("flipped", "text"),
    [
        (0, "corrupted record at 0 (Is this even a TFRecord file?)"),
        (9, "corrupted record at 0 (Is this even a TFRecord file?)"),
        (12, "corrupted record at 12"),
        (17, "corrupted record at 12"),
        (21, "corrupted record at 21"),
        (40, "corrupted record at 37"),
        (50, "corrupted record at 49"),
    ],
)
def test_corruption_is_reported_with_tensorflows_text(flipped, text):
    data = bytearray(written(THREE))
    data[flipped] ^= 1
    with pytest.raises(DecodeError) as caught:
        read(bytes(data))
    assert str(caught.value) == text


@pytest.mark.parametrize(("length", "at"), [(12, 0), (20, 0), (33, 21), (36, 21), (49, 37), (151, 37)])
def test_a_record_that_is_cut_off(length, at):
    with pytest.raises(DecodeError) as caught:
        read(written(THREE)[:length])
    assert str(caught.value) == f"truncated record at {at}' failed with Read less bytes than requested"


@pytest.mark.parametrize(("length", "whole"), [(0, 0), (3, 0), (11, 0), (21, 1), (32, 1), (37, 2), (48, 2), (153, 3)])
def test_less_than_a_header_is_the_end(length, whole):
    assert read(written(THREE)[:length]) == THREE[:whole]


def test_records_before_a_broken_one_are_read():
    records = tfrecord.read(io.BytesIO(written(THREE)[:-1]))
    assert [next(records), next(records)] == THREE[:2]
    with pytest.raises(DecodeError):
        next(records)


def test_a_length_beyond_the_file_costs_no_memory():
    length = struct.pack("<Q", 1 << 62)
    data = length + struct.pack("<I", tfrecord.masked(tfrecord.crc32c(length))) + bytes(100)
    with pytest.raises(DecodeError, match="truncated record at 0"):
        read(data)


def test_records_larger_than_what_a_file_gives_at_once(monkeypatch):
    monkeypatch.setattr(tfrecord, "PIECE", 1000)
    records = [os.urandom(size) for size in (999, 1000, 5000, 10)]
    assert read(written(records)) == records


@pytest.mark.peer
def test_tensorflow_reads_and_writes_the_same(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
    records = [*THREE, *(os.urandom(size) for size in SIZES)]
    path = tmp_path / "theirs"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    assert path.read_bytes() == written(records)
    ours = tmp_path / "ours"
    ours.write_bytes(written(records))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(ours))] == records
