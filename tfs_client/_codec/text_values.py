"""Encode field values of protobuf text: numbers, strings and enum names, from tokens to the wire format.

Source: google/protobuf/text_format.cc (ConsumeFieldValue) and io/tokenizer.cc (ParseInteger, ParseStringAppend).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from tfs_client._codec import wire
from tfs_client._codec.text_tokens import Kind, Tokens

Read = Callable[[Tokens], bytes]
"""Reads the value at the current token, and advances beyond it. Raises TextFormatError."""

_INT32, _INT64 = (1 << 31) - 1, (1 << 63) - 1
_UINT32, _UINT64 = (1 << 32) - 1, (1 << 64) - 1
_FLOAT32 = 3.4028234663852886e38  # the largest float32
_ROUNDED = 3.4028235677973366e38  # the largest number that C++ protobuf rounds to it

_BOOLS = {"true": b"\1", "True": b"\1", "t": b"\1", "false": b"\0", "False": b"\0", "f": b"\0"}
_FLOAT_NAMES = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}

_LONGEST = 22  # digits of 64 bits, in octal

_SIMPLE_ESCAPES = dict(zip("abfnrtv\\?'\"", "\a\b\f\n\r\t\v\\?'\"", strict=True))
_ESCAPES = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})"
    r"|(?:u|U0000)(?P<head>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<trail>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<simple>.))"
)


_F = FieldDescriptor


def _zigzag(value: int) -> bytes:
    return wire.varint((value << 1) ^ (value >> 63))


# By the type of the field: the largest value, the wire type, and the encoder of a value.
_SIGNED: dict[int, tuple[int, int, Callable[[int], bytes]]] = {
    _F.TYPE_INT32: (_INT32, wire.VARINT, wire.signed_varint),
    _F.TYPE_INT64: (_INT64, wire.VARINT, wire.signed_varint),
    _F.TYPE_SINT32: (_INT32, wire.VARINT, _zigzag),
    _F.TYPE_SINT64: (_INT64, wire.VARINT, _zigzag),
    _F.TYPE_SFIXED32: (_INT32, wire.FIXED32, struct.Struct("<i").pack),
    _F.TYPE_SFIXED64: (_INT64, wire.FIXED64, struct.Struct("<q").pack),
}
_UNSIGNED: dict[int, tuple[int, int, Callable[[int], bytes]]] = {
    _F.TYPE_UINT32: (_UINT32, wire.VARINT, wire.varint),
    _F.TYPE_UINT64: (_UINT64, wire.VARINT, wire.varint),
    _F.TYPE_FIXED32: (_UINT32, wire.FIXED32, struct.Struct("<I").pack),
    _F.TYPE_FIXED64: (_UINT64, wire.FIXED64, struct.Struct("<Q").pack),
}


def reader(field: FieldDescriptor) -> tuple[int, Read]:
    """Return the wire type of a field that is not a message, and the reader of its values."""
    kind, name = field.type, field.name
    if kind in _SIGNED:
        largest, wire_type, write = _SIGNED[kind]
        return wire_type, lambda tokens: write(_signed(tokens, largest))
    if kind in _UNSIGNED:
        largest, wire_type, write = _UNSIGNED[kind]
        return wire_type, lambda tokens: write(_unsigned(tokens, largest))
    if kind == _F.TYPE_FLOAT:
        return wire.FIXED32, _float32
    if kind == _F.TYPE_DOUBLE:
        return wire.FIXED64, lambda tokens: struct.pack("<d", _double(tokens))
    if kind == _F.TYPE_BOOL:
        return wire.VARINT, lambda tokens: _bool(tokens, name)
    if (enum := field.enum_type) is not None:
        return wire.VARINT, lambda tokens: _enum(tokens, name, enum)
    if kind == _F.TYPE_BYTES:
        return wire.LENGTH, lambda tokens: _prefixed(string_bytes(tokens))
    return wire.LENGTH, lambda tokens: _string(tokens, name)


def _signed(tokens: Tokens, largest: int) -> int:
    if tokens.text == "-":
        tokens.next()
        return -_unsigned(tokens, largest + 1)
    return _unsigned(tokens, largest)


def _unsigned(tokens: Tokens, largest: int) -> int:
    if tokens.kind is not Kind.INTEGER:
        raise tokens.error(f"Expected integer, got: {tokens.text}")
    value = _integer(tokens.text)
    if value is None or value > largest:
        raise tokens.error(f"Integer out of range ({tokens.text})")
    tokens.next()
    return value


def _integer(text: str) -> int | None:
    """Return the value of an integer: hexadecimal, octal or decimal; None if it is far too large."""
    base = 10 if text[0] != "0" else 16 if text[1:2] in ("x", "X") else 8
    digits = text[2 if base == 16 else 0 :].lstrip("0")
    return int(digits or "0", base) if len(digits) <= _LONGEST else None


def _double(tokens: Tokens) -> float:
    negative = tokens.text == "-"
    if negative:
        tokens.next()
    text = tokens.text
    if tokens.kind is Kind.INTEGER and len(text) > 1 and text[0] == "0":
        raise tokens.error(f"Expect a decimal number, got: {text}")
    if tokens.kind in (Kind.INTEGER, Kind.FLOAT):
        value = float(text.rstrip("fF"))
    elif tokens.kind is Kind.IDENTIFIER:
        named = _FLOAT_NAMES.get(text.lower())
        if named is None:
            raise tokens.error(f"Expected double, got: {text.lower()}")
        value = named
    else:
        raise tokens.error(f"Expected double, got: {text}")
    tokens.next()
    return -value if negative else value


def _float32(tokens: Tokens) -> bytes:
    value = _double(tokens)
    if abs(value) > _FLOAT32:
        value = math.copysign(_FLOAT32 if abs(value) <= _ROUNDED else math.inf, value)
    return struct.pack("<f", value)


def _bool(tokens: Tokens, field: str) -> bytes:
    if tokens.kind is Kind.INTEGER:
        return wire.varint(_unsigned(tokens, 1))
    if tokens.kind is not Kind.IDENTIFIER:
        raise tokens.error(f"Expected identifier, got: {tokens.text}")
    text = tokens.text
    tokens.next()
    if text not in _BOOLS:
        raise tokens.error(f'Invalid value for boolean field "{field}". Value: "{text}".')
    return _BOOLS[text]


def _enum(tokens: Tokens, field: str, kind: EnumDescriptor) -> bytes:
    if tokens.kind is Kind.IDENTIFIER:
        value, number = tokens.text, None
        tokens.next()
        if value in kind.values_by_name:
            number = kind.values_by_name[value].number
    elif tokens.kind is Kind.INTEGER or tokens.text == "-":
        number = _signed(tokens, _INT32)
        value = str(number)
        if kind.is_closed and number not in kind.values_by_number:
            number = None
    else:
        raise tokens.error(f"Expected integer or identifier, got: {tokens.text}")
    if number is None:
        raise tokens.error(f'Unknown enumeration value of "{value}" for field "{field}".')
    return wire.signed_varint(number)


def string_bytes(tokens: Tokens) -> bytes:
    """Read adjacent strings as one. Raises TextFormatError."""
    if tokens.kind is not Kind.STRING:
        raise tokens.error(f"Expected string, got: {tokens.text}")
    parts = []
    while tokens.kind is Kind.STRING:
        parts.append(_unescaped(tokens.text[1:-1]))
        tokens.next()
    return b"".join(parts)


def _string(tokens: Tokens, field: str) -> bytes:
    at = tokens.start
    data = string_bytes(tokens)
    try:
        data.decode()
    except UnicodeDecodeError:
        # C++ protobuf accepts it, but messages in Python cannot hold it.
        raise tokens.error(f'String field "{field}" contains invalid UTF-8 data.', at) from None
    return _prefixed(data)


def _prefixed(data: bytes) -> bytes:
    return wire.varint(len(data)) + data


def _unescaped(text: str) -> bytes:
    return (_ESCAPES.sub(_character, text) if "\\" in text else text).encode("latin-1")


def _character(match: re.Match[str]) -> str:
    """Return the bytes of an escape, one character for each."""
    kind = match.lastgroup
    if kind == "simple":
        return _SIMPLE_ESCAPES[match["simple"]]
    if kind == "octal":
        return chr(int(match["octal"], 8) & 0xFF)
    if kind == "hex":
        return chr(int(match["hex"], 16))
    if kind == "trail":
        code = 0x10000 + ((int(match["head"], 16) - 0xD800) << 10 | int(match["trail"], 16) - 0xDC00)
    else:
        code = int(match[kind or ""], 16)
    if code > 0x10FFFF:
        return f"\\U{code:08x}"
    return chr(code).encode("utf-8", "surrogatepass").decode("latin-1")
