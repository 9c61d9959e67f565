"""FlexBuffers: the maps in which TensorFlow Lite files store their signatures."""

from __future__ import annotations

import pytest
from hostile.flexbuffer_maps import written

from tfs_client import DecodeError
from tfs_client.server.backends.flexbuffers import read_strings

VALUES = {b"serving_default": b"\x0a\x00\xff", b"a": b"", b"z": b"x" * 200}


@pytest.mark.parametrize("width", [2, 4, 8])
def test_the_strings_of_a_map_are_read(width):
    assert read_strings(written(VALUES, width)) == VALUES


def test_a_map_of_single_bytes_is_read():
    assert read_strings(written({b"k": b"value"}, 1)) == {b"k": b"value"}


def test_values_that_are_not_strings_read_as_empty_strings():
    data = bytearray(written({b"k": b"value"}))
    data[-7] = 1 << 2 | 2  # its type: a number of 32 bits
    assert read_strings(bytes(data)) == {b"k": b""}


def test_a_root_that_is_not_a_map_reads_as_an_empty_map():
    assert read_strings(b"\x07\x04\x01") == {}


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\x05\x26\x01", b"\x01\x26\x03", written(VALUES)[4:]])
def test_damaged_bytes_are_refused(data):
    with pytest.raises(DecodeError, match="FlexBuffer"):
        read_strings(data)


def test_strings_that_share_bytes_are_refused_once_they_are_longer_than_the_data():
    shared = b"x" * 1000
    with pytest.raises(DecodeError, match="longer strings"):
        read_strings(written({b"%d" % number: shared for number in range(10)}))
