"""Protobuf's wire format, the part that reading without protobuf needs: varints, tags, and a walk over fields.

Rules: https://protobuf.dev/programming-guides/encoding/. Offsets are absolute in one ``bytes`` object, so that nested
messages are read in place.

Strategy: ``fields`` walks one message and yields spans; callers walk a span in turn if they need the nested message, so
nothing is copied and unknown fields cost only their header. The common case, a tag and a length of one byte each, is
inlined in the walk, because a function call for each varint would double its time. Every length is checked against the
end of the enclosing message before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfs_client._printable import shown
from tfs_client.errors import DecodeError, EncodeError

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)  # wire types, the low three bits of a tag
MAX_NESTING = 100  # of unknown groups; protobuf's limit
MAX_VARINT = 10  # bytes
MAX_PIECES = 1000  # of one message field; protobuf writes one, and every piece costs far more than its bytes


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed_varint(value: int) -> bytes:
    """Encode an int64 as a varint: negative numbers as 64-bit two's complement."""
    return varint(value & 0xFFFFFFFFFFFFFFFF)


def tag(number: int, kind: int) -> int:
    """Return the tag of a field, as ``fields`` yields it."""
    return number << 3 | kind


def prefix(number: int, size: int) -> bytes:
    """Return tag and length, the bytes before the ``size`` bytes of a length-delimited field."""
    return varint(tag(number, LENGTH)) + varint(size)


def delimited(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited field: a string, bytes or a message."""
    return prefix(number, len(payload)) + payload


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the unsigned 64-bit value of the varint at ``at``, and the offset after it. Raises DecodeError."""
    value = shift = 0
    for offset in range(at, min(end, at + MAX_VARINT)):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, offset + 1
        shift += 7
    if end - at < MAX_VARINT:
        raise DecodeError(f"expected a varint at byte {at}, got the end of the message at byte {end}")
    raise DecodeError(f"expected a varint of at most {MAX_VARINT} bytes at byte {at}, got a longer one")


def to_signed(value: int) -> int:
    """Convert a varint's value to int64."""
    return value - (1 << 64) if value >> 63 else value


def to_enum(value: int) -> int:
    """Convert a varint's value to the number of an enum, which has 32 bits."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk the fields of the message in ``data[at:end]``: ``(tag, first, second)`` for each.

    For varints, ``first`` and ``second`` are the value and the offset after it; for all others, start and stop of the
    payload. Groups, which no message here has, also have start and stop. Raises DecodeError if the bytes are not a
    message.
    """
    while at < end:
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = read_varint(data, at, end)
        kind = tag & 7
        if tag < 8 or tag >> 32:
            raise DecodeError(f"expected a field before byte {at}, got field number {tag >> 3}")
        if kind == LENGTH:
            if at < end and data[at] < 0x80:
                size = data[at]
                at += 1
            else:
                size, at = read_varint(data, at, end)
            stop = at + size
            if stop > end:
                raise DecodeError(f"field {tag >> 3} at byte {at} needs {size} bytes, got {end - at}")
            yield tag, at, stop
        elif kind == VARINT:
            if at < end and data[at] < 0x80:
                value = data[at]
                stop = at + 1
            else:
                value, stop = read_varint(data, at, end)
            yield tag, value, stop
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            stop = at + size
            if stop > end:
                raise DecodeError(f"field {tag >> 3} at byte {at} needs {size} bytes, got {end - at}")
            yield tag, at, stop
        elif kind == GROUP:
            stop = _group_end(data, at, end, tag >> 3)
            yield tag, at, stop
        else:
            raise DecodeError(f"expected a field before byte {at}, got wire type {kind} of field {tag >> 3}")
        at = stop


def _group_end(data: bytes, at: int, end: int, number: int) -> int:
    """Return the offset after the unknown group whose fields begin at ``at``."""
    open_groups = [number]
    while open_groups:
        tag, at = read_varint(data, at, end)
        kind = tag & 7
        if kind == VARINT:
            _, at = read_varint(data, at, end)
        elif kind == LENGTH:
            size, at = read_varint(data, at, end)
            at += size
        elif kind == FIXED32:
            at += 4
        elif kind == FIXED64:
            at += 8
        elif kind == GROUP and len(open_groups) < MAX_NESTING:
            open_groups.append(tag >> 3)
        elif kind != END_GROUP or open_groups.pop() != tag >> 3:
            raise DecodeError(f"expected the end of group {number} before byte {at}, got tag {tag}")
        if at > end:
            raise DecodeError(f"expected the end of group {number}, got the end of the message at byte {end}")
    return at


def add_piece(pieces: list[tuple[int, int]], start: int, stop: int) -> None:
    """Add one more occurrence of a message field, for ``joined``. Raises DecodeError for more than MAX_PIECES."""
    if len(pieces) == MAX_PIECES:
        raise DecodeError(f"expected a message in at most {MAX_PIECES} pieces, got more")
    pieces.append((start, stop))


def joined(data: bytes, spans: list[tuple[int, int]]) -> tuple[bytes, int, int]:
    """Merge the occurrences of a message field as protobuf does, which equals joining their bytes.

    Raises DecodeError if one of several is not a message by itself.
    """
    if len(spans) == 1:
        start, stop = spans[0]
        return data, start, stop
    if not spans:
        return data, 0, 0
    for start, stop in spans:
        for _ in fields(data, start, stop):
            pass
    whole = b"".join(data[start:stop] for start, stop in spans)
    return whole, 0, len(whole)


def text(data: bytes, start: int, stop: int, what: str) -> str:
    """Decode a string field. Raises DecodeError for bytes that are not UTF-8."""
    try:
        return str(data[start:stop], "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"expected UTF-8 in {what}, got {data[start : min(stop, start + 40)]!r} ({error.reason})"
        ) from None


def utf8(text: str, what: str) -> bytes:
    """Encode a string field. Raises EncodeError for text that UTF-8 cannot encode, and for other types."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"expected {what} that UTF-8 can encode, got {shown(text)}: {error.reason}") from None
    except AttributeError:
        raise EncodeError(f"expected {what} of type str, got {type(text).__name__}") from None
