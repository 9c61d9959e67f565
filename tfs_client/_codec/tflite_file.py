"""Read inputs, outputs and signatures of a TensorFlow Lite file without its weights.

The file is a FlatBuffer: tables refer to strings, vectors and other tables by distances, so that a reader with seeks
needs only those that it follows. Source: tensorflow/compiler/mlir/lite/schema/schema.fbs; the format:
https://flatbuffers.dev/internals
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

IDENTIFIER = b"TFL3"
METADATA = b"signature_defs_metadata"
LONGEST = (1 << 31) - 1  # bytes of a FlatBuffer

# Numbers of fields in their tables.
_SUBGRAPHS, _BUFFERS, _METADATA, _SIGNATURE_DEFS = 2, 4, 6, 7
_TENSORS, _INPUTS, _OUTPUTS = 0, 1, 2
_SHAPE, _TYPE, _NAME, _SHAPE_SIGNATURE = 0, 1, 3, 7
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_DATA = 0
_SIGNATURE_KEY = 2


@dataclass(frozen=True)
class FileTensor:
    """An input or output of the first graph.

    Attributes:
        index: its number in the graph.
        kind: the number of its type in the schema.
        sizes: its sizes, where 1 stands for variable sizes.
        signature: its sizes with -1 for variable ones; empty if the file does not say which are variable.
    """

    name: str
    index: int
    kind: int
    sizes: tuple[int, ...]
    signature: tuple[int, ...]


@dataclass(frozen=True)
class LiteFile:
    """The content of a file that matters to callers.

    Attributes:
        own_signatures: the names of the signatures in the FlatBuffer itself.
        metadata: the FlexBuffer with SignatureDefs by name; None without one.
    """

    inputs: list[FileTensor]
    outputs: list[FileTensor]
    own_signatures: tuple[str, ...]
    metadata: bytes | None


@reads("the TensorFlow Lite model")
def read(file: BinaryIO) -> LiteFile:
    """Read a seekable file. Raises DecodeError, with the offset, for one that is damaged or of another kind.

    The time is linear in the size of the file: vectors and strings may share bytes, but are refused once they are
    longer than the file in total.
    """
    data = _FlatBuffer(file)
    root = data.root()
    graphs = data.tables(root, _SUBGRAPHS)
    if not graphs:
        raise DecodeError("expected a TensorFlow Lite model with a graph, got none")
    graph, tensors = graphs[0], data.tables(graphs[0], _TENSORS)

    def side(field: int) -> list[FileTensor]:
        return [_tensor(data, tensors, index) for index in data.int32s(graph, field)]

    own = tuple(_text(data.content(table, _SIGNATURE_KEY)) for table in data.tables(root, _SIGNATURE_DEFS))
    return LiteFile(side(_INPUTS), side(_OUTPUTS), own, _metadata(data, root))


def _tensor(data: _FlatBuffer, tensors: list[int], index: int) -> FileTensor:
    if not 0 <= index < len(tensors):
        raise DecodeError(f"expected the number of one of {len(tensors)} tensors, got {index}")
    table = tensors[index]
    name, kind = _text(data.content(table, _NAME)), data.int8(table, _TYPE)
    return FileTensor(name, index, kind, data.int32s(table, _SHAPE), data.int32s(table, _SHAPE_SIGNATURE))


def _metadata(data: _FlatBuffer, root: int) -> bytes | None:
    for entry in data.tables(root, _METADATA):
        if data.content(entry, _METADATA_NAME) == METADATA:
            buffers, index = data.tables(root, _BUFFERS), data.uint32(entry, _METADATA_BUFFER)
            if index >= len(buffers):
                raise DecodeError(f"expected the number of one of {len(buffers)} buffers, got {index}")
            return data.content(buffers[index], _DATA)
    return None


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


class _FlatBuffer:
    """A FlatBuffer in a file. Tables are the offsets at which they begin; absent fields are zeros or empty."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._left = 2 * self._size  # bytes that further vectors may have in total: a few are read twice
        if self._size > LONGEST:
            raise DecodeError(f"expected a file of at most {LONGEST} bytes, got {self._size}")

    def root(self) -> int:
        """Return the root table. Raises DecodeError for a file of another kind."""
        head = self._at(0, 8) if self._size >= 8 else b""
        if head[4:] != IDENTIFIER:
            raise DecodeError(f"expected {IDENTIFIER!r} at byte 4 of a TensorFlow Lite model, got {shown(head[4:])}")
        return int.from_bytes(head[:4], "little")

    def tables(self, table: int, field: int) -> list[int]:
        """Return the tables in a vector."""
        found = self._vector(table, field, 4)
        if found is None:
            return []
        start, data = found
        distances = struct.unpack(f"<{len(data) // 4}I", data)
        return [start + 4 * number + distance for number, distance in enumerate(distances)]

    def int32s(self, table: int, field: int) -> tuple[int, ...]:
        """Return a vector of int32."""
        found = self._vector(table, field, 4)
        return () if found is None else struct.unpack(f"<{len(found[1]) // 4}i", found[1])

    def content(self, table: int, field: int) -> bytes:
        """Return a string or a vector of bytes."""
        found = self._vector(table, field, 1)
        return b"" if found is None else found[1]

    def int8(self, table: int, field: int) -> int:
        """Return an int8."""
        at = self._field(table, field)
        return int.from_bytes(self._at(at, 1), "little", signed=True) if at else 0

    def uint32(self, table: int, field: int) -> int:
        """Return a uint32."""
        at = self._field(table, field)
        return self._uint32(at) if at else 0

    def _vector(self, table: int, field: int, width: int) -> tuple[int, bytes] | None:
        """Return the offset of a vector's first element, and the elements; None for an absent field."""
        at = self._field(table, field)
        if not at:
            return None
        start = at + self._uint32(at)
        size = self._uint32(start) * width
        self._left -= size
        if self._left < 0:
            raise DecodeError(f"expected vectors of at most {self._size} bytes in the file, got more at byte {start}")
        return start + 4, self._at(start + 4, size)

    def _field(self, table: int, field: int) -> int:
        """Return the offset of a field's value; 0 for an absent field."""
        (distance,) = struct.unpack("<i", self._at(table, 4))
        places = table - distance
        (size,) = struct.unpack("<H", self._at(places, 2))
        at = 4 + 2 * field
        if at + 2 > size:
            return 0
        (place,) = struct.unpack("<H", self._at(places + at, 2))
        return table + place if place else 0

    def _uint32(self, at: int) -> int:
        return int.from_bytes(self._at(at, 4), "little")

    def _at(self, at: int, size: int) -> bytes:
        """Read bytes at an offset."""
        if not 0 <= at <= self._size - size:
            raise DecodeError(f"expected {size} bytes at byte {at}, got the end of the file at byte {self._size}")
        self._file.seek(at)
        data = self._file.read(size)
        if len(data) != size:
            raise DecodeError(f"expected {size} bytes at byte {at}, got {len(data)}: the file has changed")
        return data
