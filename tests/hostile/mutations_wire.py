"""Protobuf messages that are almost right: changes that know tags, lengths, varints, schemas and neighbours.

Valid messages are parsed into trees once, by protobuf's descriptors. A mutation replaces some nodes by other bytes and
encodes the path to them anew, so that one costs a few microseconds. Written without the package's own codec, which is
what is on trial.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from .mutations_bytes import FLOATS, TEXTS, changed, some_bytes
from .mutations_bytes import number as any_number

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)


def varint(value: int, longer: int = 0) -> bytes:
    """A varint, with ``longer`` bytes more than it needs."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    if longer:
        out.append(value | 0x80)
        out += b"\x80" * (longer - 1) + b"\0"
    else:
        out.append(value)
    return bytes(out)


def tag(number: int, kind: int) -> bytes:
    """The tag of a field."""
    return varint(number << 3 | kind)


def sized(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return tag(number, LENGTH) + varint(len(payload)) + payload


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and the offset behind it. Raises ValueError."""
    value = 0
    for index in range(10):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise ValueError("no varint")


def walk(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, and where the payload lies. Raises ValueError."""
    end = len(data) if end is None else end
    while at < end:
        key, at = read_varint(data[:end], at)
        kind, start = key & 7, at
        if kind == VARINT:
            _, at = read_varint(data[:end], at)
        elif kind == LENGTH:
            size, start = read_varint(data[:end], at)
            at = start + size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError("a group")
        if at > end:
            raise ValueError("cut off")
        yield key >> 3, kind, start, at


class Node:
    """A field of a valid message, or the message as a whole."""

    __slots__ = ("children", "encoded", "kind", "number", "parent", "payload", "schema")

    def __init__(
        self, number: int, kind: int, payload: bytes, encoded: bytes, parent: Node | None, schema: Any
    ) -> None:
        self.number, self.kind, self.payload, self.encoded = number, kind, payload, encoded
        self.parent = parent
        self.schema = schema  # of the message that this is, or None
        self.children: list[Node] = []


def tree(data: bytes, schema: Any) -> Node:
    """A valid message as a tree."""
    root = Node(0, LENGTH, data, data, None, schema)
    _grow(root)
    return root


def _grow(node: Node) -> None:
    at = 0
    for number, kind, start, stop in walk(node.payload):
        field = node.schema.fields_by_number.get(number)
        inner = field.message_type if field is not None else None
        payload = node.payload[start:stop]
        child = Node(number, kind, payload, node.payload[at:stop], node, inner if kind == LENGTH else None)
        node.children.append(child)
        if child.schema is not None:
            child.schema = _unpacked(child.schema)
            _grow(child)
        at = stop


def _unpacked(schema: Any) -> Any:
    """Of an Any the schema stays that of an Any; its value is opened by ``Mutations`` with ``opened``."""
    return schema


class Mutations:
    """Makes inputs of valid messages of one kind.

    Args:
        valid: messages as protobuf writes them.
        schema: their descriptor.
        opened: field names of bytes that hold messages, with their descriptors, such as the value of an Any.
    """

    def __init__(self, valid: Sequence[bytes], schema: Any, opened: dict[str, Any] | None = None) -> None:
        self._roots = [tree(data, schema) for data in valid]
        for root in self._roots:
            self._open(root, opened or {})
        self._nodes = [list(_below(root)) for root in self._roots]
        self._all = [node for nodes in self._nodes for node in nodes]
        self._kin: dict[str, list[Node]] = {}
        for node in self._all:
            if node.parent is not None:
                self._kin.setdefault(node.parent.schema.full_name, []).append(node)

    def _open(self, node: Node, opened: dict[str, Any]) -> None:
        for child in node.children:
            field = node.schema.fields_by_number.get(child.number)
            inner = opened.get(field.full_name) if field is not None else None
            if inner is not None and child.schema is None:
                child.schema = inner
                _grow(child)
            self._open(child, opened)

    def __call__(self, rng: Random) -> bytes:
        """One more input."""
        which = int(rng.random() * len(self._roots))
        root, nodes = self._roots[which], self._nodes[which]
        edits: dict[Node, bytes] = {}
        touched: set[Node] = set()
        for _ in range(1 if rng.random() < 0.55 else 1 + int(rng.random() * 4)):
            node = nodes[int(rng.random() * len(nodes))]
            if node in edits or (node in touched and rng.random() < 0.8):
                continue
            edits[node] = self._edit(node, rng)
            parent = node.parent
            while parent is not None and parent not in touched:
                touched.add(parent)
                parent = parent.parent
        data = _rebuilt(root, edits, touched)
        if rng.random() < 0.12:
            data = changed(data, rng)
        return data

    def _edit(self, node: Node, rng: Random) -> bytes:
        if node.parent is None:
            return self._whole(node, rng)
        return _EDITS[int(rng.random() * len(_EDITS))](self, node, rng)

    def _whole(self, node: Node, rng: Random) -> bytes:
        """The message as a whole: its fields reordered, twice, or another's behind them."""
        pick = rng.random()
        if pick < 0.4:
            parts = [child.encoded for child in node.children]
            rng.shuffle(parts)
            return b"".join(parts)
        if pick < 0.7:
            return node.encoded + self._roots[int(rng.random() * len(self._roots))].encoded
        if pick < 0.85:
            return changed(node.encoded, rng)
        return node.encoded * 2

    # --- edits: what stands in place of a node

    def _dropped(self, node: Node, rng: Random) -> bytes:
        return b""

    def _repeated(self, node: Node, rng: Random) -> bytes:
        pick = rng.random()
        times = 2 if pick < 0.6 else 3 + int(rng.random() * 60) if pick < 0.985 else 900 + int(rng.random() * 300)
        return node.encoded * times

    def _value(self, node: Node, rng: Random) -> bytes:
        """The same field with another value of its kind."""
        return tag(node.number, node.kind) + _payload(node, rng)

    def _lie(self, node: Node, rng: Random) -> bytes:
        """A length or a tag that lies, or takes more bytes than it needs."""
        if node.kind != LENGTH:
            if node.kind == VARINT:
                value, _ = read_varint(node.payload, 0)
                return tag(node.number, VARINT) + varint(value, 1 + int(rng.random() * 10))
            return varint(node.number << 3 | node.kind, 1 + int(rng.random() * 5)) + node.payload
        size, pick = len(node.payload), rng.random()
        if pick < 0.35:
            said = varint(max(0, size + rng.choice((-2, -1, 1, 2, 3, 10, 100))))
        elif pick < 0.5:
            said = varint(any_number(rng))
        else:
            said = varint(size, 1 + int(rng.random() * 9))
        return tag(node.number, LENGTH) + said + node.payload

    def _other_type(self, node: Node, rng: Random) -> bytes:
        """The same field with another wire type."""
        kind = int(rng.random() * 8)
        if kind == VARINT:
            return tag(node.number, VARINT) + varint(any_number(rng))
        if kind == LENGTH:
            return sized(node.number, node.payload)
        if kind in (FIXED32, FIXED64):
            return tag(node.number, kind) + rng.randbytes(4 if kind == FIXED32 else 8)
        if kind == GROUP:
            inner = node.encoded if rng.random() < 0.7 else some_bytes(rng)
            return tag(node.number, GROUP) + inner + tag(node.number + (rng.random() < 0.2), END_GROUP)
        return tag(node.number, kind) + node.payload

    def _other_number(self, node: Node, rng: Random) -> bytes:
        """Another field with the same payload."""
        numbers = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 18, 19, 0, 99, 1000, (1 << 29) - 1, 1 << 29, 1 << 33)
        return tag(numbers[int(rng.random() * len(numbers))], node.kind) + _length(node)

    def _spliced(self, node: Node, rng: Random) -> bytes:
        """A field of another message, mostly of the same kind, in its place or next to it."""
        kin = self._kin[node.parent.schema.full_name] if rng.random() < 0.7 else self._all  # type: ignore[union-attr]
        other = kin[int(rng.random() * len(kin))]
        pick = rng.random()
        return (
            other.encoded
            if pick < 0.4
            else node.encoded + other.encoded
            if pick < 0.8
            else other.encoded + node.encoded
        )

    def _inserted(self, node: Node, rng: Random) -> bytes:
        """An unknown field or group before or behind it."""
        pick = rng.random()
        if pick < 0.3:
            extra = tag(99, VARINT) + varint(any_number(rng))
        elif pick < 0.5:
            extra = sized(15, some_bytes(rng))
        elif pick < 0.9:
            depth = rng.choice((1, 1, 2, 3, 30, 99, 100, 101, 150))
            inner = rng.choice((b"", b"\x08\x01", b"\x0a\x01x", b"\x0d\0\0\0\0", b"\x09" + b"\0" * 8, b"\x0f"))
            extra = tag(100, GROUP) * depth + inner + tag(100, END_GROUP) * (depth - (rng.random() < 0.05))
        else:
            extra = some_bytes(rng)
        return extra + node.encoded if rng.random() < 0.5 else node.encoded + extra

    def _of_schema(self, node: Node, rng: Random) -> bytes:
        """A field that the message may have, with any value, next to this one."""
        fields = node.parent.schema.fields  # type: ignore[union-attr]
        field = fields[int(rng.random() * len(fields))]
        extra = _generated(field, rng)
        return extra + node.encoded if rng.random() < 0.5 else node.encoded + extra

    def _in_pieces(self, node: Node, rng: Random) -> bytes:
        """A message, or packed numbers, in several occurrences; packed numbers one by one, and the other way round."""
        if node.kind != LENGTH:
            return sized(node.number, _fixed_or_varints(node, rng))
        if node.children:
            cut = int(rng.random() * (len(node.children) + 1))
            halves = (node.children[:cut], node.children[cut:])
            return b"".join(sized(node.number, b"".join(child.encoded for child in half)) for half in halves)
        pick = rng.random()
        if pick < 0.4:
            cut = int(rng.random() * (len(node.payload) + 1))
            return sized(node.number, node.payload[:cut]) + sized(node.number, node.payload[cut:])
        return b"".join(_one_by_one(node, rng))

    def _nested(self, node: Node, rng: Random) -> bytes:
        """The payload within itself, a few times or many."""
        data = node.encoded
        for _ in range(rng.choice((1, 1, 2, 3, 20, 120))):
            data = sized(node.number, data)
        return data


def _generated(field: Any, rng: Random) -> bytes:
    """A field with a value that its declared type may have."""
    kind = field.cpp_type
    if kind in (field.CPPTYPE_MESSAGE, field.CPPTYPE_STRING):
        inner = some_bytes(rng) if kind == field.CPPTYPE_STRING or rng.random() < 0.3 else b""
        if kind == field.CPPTYPE_MESSAGE and rng.random() < 0.7 and field.message_type.fields:
            fields = field.message_type.fields
            inner = _generated(fields[int(rng.random() * len(fields))], rng)
        return sized(field.number, inner)
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        width, form = (4, "<f") if kind == field.CPPTYPE_FLOAT else (8, "<d")
        count = int(rng.random() * 5)
        values = [_float_bytes(form, rng) for _ in range(count)]
        if rng.random() < 0.6:
            return sized(field.number, b"".join(values))
        return b"".join(tag(field.number, FIXED32 if width == 4 else FIXED64) + value for value in values)
    repeated = getattr(field, "is_repeated", None)
    count = int(rng.random() * 5) if repeated or repeated is None else 1
    if rng.random() < 0.5 and count != 1:
        return sized(field.number, b"".join(varint(any_number(rng)) for _ in range(count)))
    if rng.random() < 0.03:
        count = 40 + int(rng.random() * 40)
    return b"".join(tag(field.number, VARINT) + varint(any_number(rng)) for _ in range(count))


def _float_bytes(form: str, rng: Random) -> bytes:
    value = FLOATS[int(rng.random() * len(FLOATS))]
    try:
        return struct.pack(form, value)
    except OverflowError:
        return rng.randbytes(struct.calcsize(form))  # also NaNs with a payload


def _payload(node: Node, rng: Random) -> bytes:
    """Another payload of the same wire type, in full: with its length where it has one."""
    if node.kind == VARINT:
        return varint(any_number(rng))
    if node.kind in (FIXED32, FIXED64):
        form = "<f" if node.kind == FIXED32 else "<d"
        return _float_bytes(form, rng) if rng.random() < 0.6 else rng.randbytes(struct.calcsize(form))
    pick = rng.random()
    if pick < 0.35:
        data = changed(node.payload, rng)
    elif pick < 0.45:
        data = TEXTS[int(rng.random() * len(TEXTS))]
    elif pick < 0.6:
        data = node.payload[: int(rng.random() * (len(node.payload) + 1))]
    elif pick < 0.75:
        data = node.payload * (2 if rng.random() < 0.9 else 50)
    elif pick < 0.85:
        data = b"".join(varint(any_number(rng)) for _ in range(int(rng.random() * 6)))
    else:
        data = some_bytes(rng, 40)
    return varint(len(data)) + data


def _length(node: Node) -> bytes:
    return varint(len(node.payload)) + node.payload if node.kind == LENGTH else node.payload


def _fixed_or_varints(node: Node, rng: Random) -> bytes:
    times = 1 + int(rng.random() * 3)
    return node.payload * times


def _one_by_one(node: Node, rng: Random) -> Iterator[bytes]:
    """The packed payload as single fields, as far as it is one of varints, or of fixed width."""
    pick = rng.random()
    if pick < 0.5:
        at = 0
        try:
            while at < len(node.payload):
                _, stop = read_varint(node.payload, at)
                yield tag(node.number, VARINT) + node.payload[at:stop]
                at = stop
        except ValueError:
            return
        return
    width = 4 if pick < 0.8 else 8
    for at in range(0, len(node.payload) - width + 1, width):
        yield tag(node.number, FIXED32 if width == 4 else FIXED64) + node.payload[at : at + width]


_EDITS = (
    Mutations._dropped,
    Mutations._repeated,
    Mutations._value,
    Mutations._value,
    Mutations._value,
    Mutations._lie,
    Mutations._other_type,
    Mutations._other_number,
    Mutations._spliced,
    Mutations._spliced,
    Mutations._inserted,
    Mutations._of_schema,
    Mutations._of_schema,
    Mutations._in_pieces,
    Mutations._nested,
)


def _below(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _below(child)


def _rebuilt(node: Node, edits: dict[Node, bytes], touched: set[Node]) -> bytes:
    if node in edits:
        return edits[node]
    if node not in touched:
        return node.encoded
    payload = b"".join([_rebuilt(child, edits, touched) for child in node.children])
    return payload if node.parent is None else sized(node.number, payload)
