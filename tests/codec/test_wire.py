"""The walk over a message's fields, against protobuf's rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import wire
from tfs_client.errors import DecodeError, EncodeError


def walk(data):
    return list(wire.fields(data, 0, len(data)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_read_back(value):
    data = wire.varint(value)
    assert wire.read_varint(b"\xff" + data + b"\xff", 1, len(data) + 1) == (value, len(data) + 1)
    assert wire.to_signed(value) % 2**64 == value
    assert wire.signed_varint(wire.to_signed(value)) == data


def test_fields_of_every_wire_type_are_found():
    data = bytes.fromhex("0896 01 12 03 616263 1d 00000000 21 0000000000000000 2b 0801 2c f8ff ffff 0f 05")
    assert walk(data) == [
        (0x08, 150, 3), (0x12, 5, 8), (0x1D, 9, 13), (0x21, 14, 22), (0x2B, 23, 26), (0xFFFFFFF8, 5, len(data)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    ["08", "0880", "12", "1201", "1205 0000", "1280", "1d 000000", "21 00000000000000", "00 00", "06 00", "07", "0c",
     "0e", "0f", "0b", "0b 14", "0b 08", "0b 12 05", "0b 1d 00", "80", "08 ffffffffffffffffffff01", "03 04",
     "12 ffffffffffffffffff01", "8080808080808080808001 00"],
)  # fmt: skip
def test_invalid_messages_are_an_error(data):
    with pytest.raises(DecodeError, match=r"expected|needs"):
        walk(bytes.fromhex(data))


def test_groups_nest_to_a_limit():
    deep = wire.MAX_NESTING
    assert len(walk(b"\x0b" * deep + b"\x0c" * deep)) == 1
    with pytest.raises(DecodeError):
        walk(b"\x0b" * (deep + 1) + b"\x0c" * (deep + 1))


def test_messages_in_pieces_are_joined_up_to_a_limit():
    pieces = []
    for at in range(wire.MAX_PIECES):
        wire.add_piece(pieces, 2 * at, 2 * at + 2)
    data = b"\x08\1" * wire.MAX_PIECES
    assert wire.joined(data, pieces) == (data, 0, len(data))
    with pytest.raises(DecodeError, match=r"expected a message in at most 1000 pieces"):
        wire.add_piece(pieces, 0, 1)


def test_each_piece_is_a_message_by_itself():
    assert wire.joined(b"", []) == (b"", 0, 0)
    with pytest.raises(DecodeError, match=r"expected a varint at byte 1, got the end of the message"):
        wire.joined(b"\x08\1", [(0, 1), (1, 2)])


def test_an_enum_is_truncated_to_32_bits():
    assert [wire.to_enum(value) for value in (1, 2**32 + 1, 2**64 - 1, 2**31)] == [1, 1, -1, -(2**31)]


def test_text_is_utf8_in_both_directions():
    assert wire.text("é".encode(), 0, 2, "a name") == "é"
    with pytest.raises(DecodeError, match=r"expected UTF-8 in a name"):
        wire.text(b"\xff\xfe", 0, 2, "a name")
    with pytest.raises(EncodeError, match=r"expected a name that UTF-8 can encode"):
        wire.utf8("\ud800", "a name")
    with pytest.raises(EncodeError, match=r"expected a name of type str, got int"):
        wire.utf8(1, "a name")
