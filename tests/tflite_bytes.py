"""Small TensorFlow Lite files, written byte by byte, without TensorFlow; ``peers/lite_files`` writes runnable ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from tfs_client._codec.tflite_file import METADATA

FLOAT, INT64, TEXT = 0, 4, 5  # numbers of the schema


class Table(dict[int, Any]):
    """A table: numbers, bytes, lists of int32 and lists of tables by field number."""


def tensor(name: str, kind: int = FLOAT, shape: Sequence[int] = (1, 2), signature: Sequence[int] = ()) -> Table:
    """A tensor; ``signature`` has -1 for variable sizes."""
    return Table({0: list(shape), 1: kind, 3: name.encode(), **({7: list(signature)} if signature else {})})


def model(
    tensors: list[Table],
    inputs: list[int],
    outputs: list[int],
    *,
    metadata: bytes | None = None,
    weights: bytes = b"",
    own: Sequence[str] = (),
) -> bytes:
    """A file with one graph; ``metadata`` is a FlexBuffer with signatures."""
    graph = Table({0: tensors, 1: inputs, 2: outputs})
    root = Table({0: 3, 2: [graph], 4: [Table(), Table({0: weights})]})
    if metadata is not None:
        root[4].append(Table({0: metadata}))
        root[6] = [Table({0: METADATA, 1: 2})]
    if own:
        root[7] = [Table({2: name.encode()}) for name in own]
    return file_of(root)


def file_of(root: Table) -> bytes:
    """A file with any root table."""
    data = bytearray(b"\0\0\0\0TFL3")
    _refer(data, 0, _write(data, root))
    return bytes(data)


def _refer(data: bytearray, at: int, target: int) -> None:
    """Write the distance from a place to its target."""
    struct.pack_into("<I", data, at, target - at)


def _write(data: bytearray, value: Any) -> int:
    """Append a value, then what it refers to; returns its offset."""
    if isinstance(value, bytes):
        data += struct.pack("<I", len(value))
        data += value + b"\0"
        return len(data) - len(value) - 5
    if isinstance(value, Table):
        return _table(data, value)
    at = len(data)
    data += struct.pack("<I", len(value))
    if all(isinstance(each, int) for each in value):
        data += struct.pack(f"<{len(value)}i", *value)
        return at
    data += bytes(4 * len(value))
    for number, each in enumerate(value):
        _refer(data, at + 4 + 4 * number, _write(data, each))
    return at


def _table(data: bytearray, fields: Table) -> int:
    count = max(fields, default=-1) + 1
    places = len(data)
    slots = [4 + 4 * number if number in fields else 0 for number in range(count)]
    data += struct.pack(f"<{2 + count}H", 4 + 2 * count, 4 + 4 * count, *slots)
    at = len(data)
    data += struct.pack("<i", at - places) + bytes(4 * count)
    for number, value in fields.items():
        place = at + 4 + 4 * number
        if isinstance(value, int):
            struct.pack_into("<i", data, place, value)
        else:
            _refer(data, place, _write(data, value))
    return at
