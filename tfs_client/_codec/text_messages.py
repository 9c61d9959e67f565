"""Parse messages from protobuf text by the rules of C++ protobuf, as the model server does.

Python's protobuf reads a dialect: it accepts no-break spaces, ``1_000`` and unknown escapes, and refuses Latin-1 in
comments.

Strategy: a recursive-descent parser over the tokens, driven by the descriptors of the message. It appends each field to
the bytes of its message as it is read, and never sets fields of Python messages; the bytes are then parsed by protobuf,
with the same result in every implementation. The parser follows the C++ one step by step, in the order of its checks,
because it must report the same error at the same line and column.
Source: google/protobuf/text_format.cc (TextFormat::Parser).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tfs_client._codec import wire
from tfs_client._codec.text_tokens import Kind, TextFormatError, Tokens
from tfs_client._codec.text_values import reader

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_NESTING = wire.MAX_NESTING  # C++ protobuf has no limit here, and overflows its stack

_ZEROS = (b"\0", bytes(4), bytes(8))  # of varints and empty strings, and of fixed fields
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_BAD_PERCENT = re.compile("%(?![0-9a-fA-F]{2})")


def fill(proto: Message, text: bytes) -> None:
    """Read text into a message, replacing its content. Raises TextFormatError."""
    parser, descriptor = _Parser(text), cast(Descriptor, proto.DESCRIPTOR)
    proto.ParseFromString(parser.whole(parser.schema(descriptor)))


def check_syntax(text: bytes) -> None:
    """Check the syntax of text of an unknown message, whose fields may have any names. Raises TextFormatError."""
    _Parser(text).skip_all()


class _Schema:
    """The parts of a message's descriptor that the parser needs.

    Attributes:
        name: its full name.
        descriptor: the descriptor.
        fields: its fields by name.
        reserved: reserved field names, which are skipped.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        proto = _as_message(descriptor)
        repeated = {field.name: field.label == field.LABEL_REPEATED for field in proto.field}
        self.name, self.descriptor = descriptor.full_name, descriptor
        self.fields = {field.name: _Field(field, repeated[field.name]) for field in descriptor.fields}
        self.reserved = frozenset(proto.reserved_name)


def _as_message(descriptor: Descriptor) -> descriptor_pb2.DescriptorProto:
    """Return the descriptor as a message, because attributes of descriptors differ between versions of protobuf."""
    if descriptor.containing_type is not None:
        siblings = _as_message(descriptor.containing_type).nested_type
    else:
        siblings = descriptor_pb2.FileDescriptorProto.FromString(descriptor.file.serialized_pb).message_type
    return next(each for each in siblings if each.name == descriptor.name)


class _Field:
    """The parts of a field's descriptor that the parser needs.

    Attributes:
        repeated: whether it may occur more than once.
        presence: whether a zero counts as set.
        oneof: the name of its oneof; "" for none.
        message: the descriptor of its message; None for other fields.
        tag: the encoded tag before each value.
        read: reads a value that is not a message.
    """

    def __init__(self, field: FieldDescriptor, repeated: bool) -> None:
        self.name, self.number, self.repeated = field.name, field.number, repeated
        self.presence = field.has_presence
        self.oneof = field.containing_oneof.name if field.containing_oneof is not None else ""
        self.message: Descriptor | None = field.message_type
        wire_type = wire.LENGTH
        if self.message is None:
            wire_type, self.read = reader(field)
        self.tag = wire.varint(wire.tag(field.number, wire_type))


class _Given:
    """The fields that a message has so far: their numbers, and the field of each oneof."""

    __slots__ = ("numbers", "oneofs")

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.oneofs: dict[str, str] = {}


class _Parser:
    def __init__(self, text: bytes) -> None:
        self._tokens = Tokens(text)
        self._schemas: dict[str, _Schema] = {}
        self._depth = 0

    def schema(self, descriptor: Descriptor) -> _Schema:
        name = descriptor.full_name
        if name not in self._schemas:
            self._schemas[name] = _Schema(descriptor)
        return self._schemas[name]

    def whole(self, schema: _Schema) -> bytes:
        """Return the bytes of the message in the whole text."""
        out, given = bytearray(), _Given()
        while self._tokens.kind is not Kind.END:
            self._field(schema, given, out)
        return bytes(out)

    def skip_all(self) -> None:
        while self._tokens.kind is not Kind.END:
            self._skip_field()

    def _field(self, schema: _Schema, given: _Given, out: bytearray) -> None:
        """Read a field, including its name, and append it to ``out``."""
        tokens = self._tokens
        if tokens.text == "[":
            self._in_brackets(schema, given, out)
            return self._separator()
        name = self._name()
        field = schema.fields.get(name)
        if field is None:
            if name not in schema.reserved:
                raise tokens.error(f'Message type "{schema.name}" has no field named "{name}".')
            return self._skip_rest()
        if not field.repeated:
            self._check_once(field, given)
        if field.message is None:
            self._consume(":")
        else:
            self._consumed(":")
        if field.repeated and self._consumed("["):
            self._list(lambda: self._value(field, out))
        else:
            zero = self._value(field, out)
            if not field.repeated and (field.presence or not zero):
                given.numbers.add(field.number)
                if field.oneof:
                    given.oneofs[field.oneof] = field.name
        self._separator()

    def _check_once(self, field: _Field, given: _Given) -> None:
        if field.number in given.numbers:
            raise self._tokens.error(f'Non-repeated field "{field.name}" is specified multiple times.')
        if field.oneof in given.oneofs:
            raise self._tokens.error(
                f'Field "{field.name}" is specified along with field "{given.oneofs[field.oneof]}", '
                f'another member of oneof "{field.oneof}".'
            )

    def _list(self, read: Callable[[], object]) -> None:
        """Read the values of a list, whose opening bracket has been read."""
        if self._consumed("]"):
            return
        read()
        while not self._consumed("]"):
            self._consume(",")
            read()

    def _value(self, field: _Field, out: bytearray) -> bool:
        """Read a value and append it to ``out``. Returns whether it is a zero."""
        if field.message is None:
            value = field.read(self._tokens)
            out += field.tag
            out += value
            return value in _ZEROS
        body = self._message(self.schema(field.message))
        out += field.tag
        out += wire.varint(len(body))
        out += body
        return False

    def _message(self, schema: _Schema) -> bytearray:
        """Return the bytes of a message within ``{}`` or ``<>``."""
        tokens = self._tokens
        end = self._opened()
        self._deeper()
        out, given = bytearray(), _Given()
        while tokens.text not in ("}", ">"):
            self._field(schema, given, out)
        self._consume(end)
        self._depth -= 1
        return out

    def _in_brackets(self, schema: _Schema, given: _Given, out: bytearray) -> None:
        """Read an extension, which no message here has, or the content of an Any under its type URL."""
        tokens = self._tokens
        prefix, name, at = self._type_name()
        if schema.name != "google.protobuf.Any":
            if prefix:
                raise tokens.error('Extension name contains "/"', at)
            raise tokens.error(f'Extension "{name}" is not defined or is not an extension of "{schema.name}".')
        if not prefix:
            raise tokens.error("Type URL prefix is missing", at)
        self._consumed(":")
        try:
            descriptor = schema.descriptor.file.pool.FindMessageTypeByName(name)
        except KeyError:
            raise tokens.error(f'Could not find type "{prefix}{name}" stored in google.protobuf.Any.') from None
        content = message_factory.GetMessageClass(descriptor)()
        content.ParseFromString(bytes(self._message(self.schema(descriptor))))
        if given.numbers:
            raise tokens.error("Non-repeated Any specified multiple times.")
        value = content.SerializePartialToString(deterministic=True)
        out += wire.delimited(1, (prefix + name).encode()) + wire.delimited(2, value)
        given.numbers |= {1, 2} if value else {1}

    def _type_name(self) -> tuple[str, str, int]:
        """Read brackets: the prefix of a type URL, "" for none, a full name, and the offset of errors about them."""
        tokens, parts = self._tokens, []
        tokens.next_of_url()
        while tokens.kind is Kind.URL:
            parts.append(tokens.text)
            tokens.next_of_url()
        if tokens.text != "]":
            raise self._expected("]")
        text, at = "".join(parts), tokens.end
        _, slash, name = text.rpartition("/")
        prefix = text.removesuffix(name) if slash else ""
        if prefix == "/":
            raise tokens.error("Type URL prefix is empty", at)
        if prefix.startswith("/"):
            raise tokens.error('Type URL starts with "/"', at)
        if bad := _BAD_PERCENT.search(prefix):
            raise tokens.error(f'Invalid percent encode, got: "{prefix[bad.start() : bad.start() + 3]}"', at)
        for part in name.split("."):
            if not _IDENTIFIER.fullmatch(part):
                raise tokens.error(f'Invalid identifier in type name, got: "{part}"', at)
        tokens.next()
        return prefix, name, at

    def _skip_field(self) -> None:
        if self._tokens.text == "[":
            self._type_name()
        else:
            self._name()
        self._skip_rest()

    def _skip_rest(self) -> None:
        """Skip the rest of a field after its name."""
        if self._consumed(":"):
            self._skip_value()
        else:
            self._skip_message()
        self._separator()

    def _skip_value(self) -> None:
        tokens = self._tokens
        if tokens.text in ("{", "<"):
            return self._skip_message()
        self._deeper()
        if tokens.kind is Kind.STRING:
            while tokens.kind is Kind.STRING:
                tokens.next()
        elif self._consumed("["):
            self._list(self._skip_value)
        else:
            self._skip_scalar()
        self._depth -= 1

    def _skip_scalar(self) -> None:
        tokens = self._tokens
        negative = self._consumed("-")
        if tokens.kind not in (Kind.INTEGER, Kind.FLOAT, Kind.IDENTIFIER):
            raise tokens.error(f"Cannot skip field value, unexpected token: {tokens.text}")
        if negative and tokens.kind is Kind.IDENTIFIER and tokens.text.lower() not in ("inf", "infinity", "nan"):
            raise tokens.error(f"Invalid float number: {tokens.text.lower()}")
        tokens.next()

    def _skip_message(self) -> None:
        self._deeper()
        end = self._opened()
        while self._tokens.text not in ("}", ">"):
            self._skip_field()
        self._consume(end)
        self._depth -= 1

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._tokens.error(
                f"Message is too deep, the parser exceeded the configured recursion limit of {MAX_NESTING}."
            )

    def _opened(self) -> str:
        """Consume the opening delimiter of a message; return the closing one."""
        if self._consumed("<"):
            return ">"
        self._consume("{")
        return "}"

    def _name(self) -> str:
        tokens = self._tokens
        if tokens.kind is not Kind.IDENTIFIER:
            raise tokens.error(f"Expected identifier, got: {tokens.text}")
        name = tokens.text
        tokens.next()
        return name

    def _separator(self) -> None:
        if self._tokens.text in (";", ","):
            self._tokens.next()

    def _consumed(self, text: str) -> bool:
        if self._tokens.text != text:
            return False
        self._tokens.next()
        return True

    def _consume(self, text: str) -> None:
        if not self._consumed(text):
            raise self._expected(text)

    def _expected(self, text: str) -> TextFormatError:
        return self._tokens.error(f'Expected "{text}", found "{self._tokens.text}".')
