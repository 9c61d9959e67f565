"""Read the inputs and outputs of an ONNX model without its nodes and weights, which may have gigabytes.

Weights in other files (external data) are not opened. Messages: onnx/onnx.proto.
"""

from __future__ import annotations

from typing import BinaryIO

from tfs_client._codec import wire
from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import BY_NAME, DType
from tfs_client._codec.field_limits import MOST_BYTES
from tfs_client._codec.signature_defs import TensorInfo
from tfs_client._codec.wire_file import WireFile, located
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

# The element types (TensorProto.DataType) that TensorFlow has too, by number from 1.
_NAMES = (
    "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "half", "double", "uint32",
    "uint64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "uint4", "int4", "float4_e2m1fn", None, "uint2", "int2",
)  # fmt: skip
_OTHERS = {24: "FLOAT8E8M0"}
_ROWS: dict[int, DType] = {number: BY_NAME[name] for number, name in enumerate(_NAMES, 1) if name}

Axes = list[tuple[int | None, str]]
"""Size and name of each axis; None for an unknown size, "" for none."""

_1, _2, _5, _7, _8, _11, _12, _15 = (wire.tag(number, wire.LENGTH) for number in (1, 2, 5, 7, 8, 11, 12, 15))
_ELEMENT_TYPE = _SIZE = wire.tag(1, wire.VARINT)
_GRAPH, _INITIALIZER, _SPARSE_INITIALIZER, _INPUT, _OUTPUT, _TENSOR_NAME = _7, _5, _15, _11, _12, _8
_KINDS = {_1: "a tensor", _8: "a sparse tensor", wire.tag(4, wire.LENGTH): "a sequence"}
_KINDS |= {wire.tag(5, wire.LENGTH): "a map", wire.tag(9, wire.LENGTH): "an optional value"}


@reads("the ONNX model")
def read(file: BinaryIO) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo], AxisNames]:
    """Read inputs and outputs by name, and the names of their sizes.

    Inputs with an initial value are weights, and left out. Sizes with a name (``batch``) are unknown ones. Raises
    DecodeError, with the offset, for a file that is damaged or cut off, and for inputs and outputs other than tensors;
    the parts that are skipped are not checked.
    """
    message = WireFile(file)
    spans: dict[int, list[tuple[int, int]]] = {_INPUT: [], _OUTPUT: []}
    weights: set[str] = set()
    graphs = 0
    for tag, start, stop in message.fields(0, message.size):
        if tag != _GRAPH:
            continue
        graphs += 1
        for inner, first, last in message.fields(start, stop):
            if inner in spans:
                spans[inner].append((first, last))
            elif inner == _INITIALIZER:
                weights.add(_name(message, first, last))
            elif inner == _SPARSE_INITIALIZER:
                weights |= {_name(message, *span) for tag, *span in message.fields(first, last) if tag == _1}
    if not graphs:
        raise DecodeError(f"expected an ONNX model with a graph, got none in {message.size} bytes")
    inputs, input_axes = _values(message, spans[_INPUT], "input", weights)
    outputs, output_axes = _values(message, spans[_OUTPUT], "output", set())
    return inputs, outputs, AxisNames(input_axes, output_axes)


def _name(message: WireFile, at: int, end: int) -> str:
    """Read the name of a TensorProto, without its values."""
    name = ""
    for tag, start, stop in message.fields(at, end):
        if tag == _TENSOR_NAME:
            data = message.read(start, stop)
            with located("the name of a weight", start):
                name = wire.text(data, 0, len(data), "a name")
    return name


def _values(
    message: WireFile, spans: list[tuple[int, int]], side: str, weights: set[str]
) -> tuple[dict[str, TensorInfo], dict[str, tuple[str, ...]]]:
    """Read ValueInfoProtos by name, and the names of their axes."""
    total = sum(stop - start for start, stop in spans)
    if total > MOST_BYTES:
        raise DecodeError(f"expected {side}s of at most {MOST_BYTES} bytes, got {total}")
    found: dict[str, TensorInfo] = {}
    axes: dict[str, tuple[str, ...]] = {}
    for start, stop in spans:
        data = message.read(start, stop)
        with located(f"an {side}", start):
            name, kind = _value(data)
            if name in weights:
                continue
            if name in found:
                raise DecodeError(f"expected one {side} {shown(name)}, got several")
            row, shape = _tensor(*kind, name, side)
            found[name] = row, None if shape is None else tuple(size for size, _ in shape), name
            if shape and any(axis for _, axis in shape):
                axes[name] = tuple(axis for _, axis in shape)
    return found, axes


def _value(data: bytes) -> tuple[str, tuple[bytes, int, int]]:
    """Read name and type of a ValueInfoProto."""
    name = ""
    types: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag == _1:
            name = wire.text(data, start, stop, "a name")
        elif tag == _2:
            wire.add_piece(types, start, stop)
    return name, wire.joined(data, types)


def _tensor(data: bytes, at: int, end: int, name: str, side: str) -> tuple[DType, Axes | None]:
    """Read a TypeProto: dtype, and size and name of each axis."""
    kind = 0
    tensors: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(data, at, end):
        if tag in _KINDS:  # a oneof: the last counts
            kind = tag
        if tag == _1:
            wire.add_piece(tensors, start, stop)
    if kind != _1:
        raise DecodeError(f"expected {side} {shown(name)} to be a tensor, got {_KINDS.get(kind, 'no type')}")
    number, shapes = 0, list[tuple[int, int]]()
    data, at, end = wire.joined(data, tensors)
    for tag, first, second in wire.fields(data, at, end):
        if tag == _ELEMENT_TYPE:
            number = wire.to_enum(first)
        elif tag == _2:
            wire.add_piece(shapes, first, second)
    row = _ROWS.get(number)
    if row is None:
        got = f"{_OTHERS[number]}, which is not supported" if number in _OTHERS else f"number {number}"
        raise DecodeError(f"expected {side} {shown(name)} to have an element type of TensorFlow, got {got}")
    return row, _shape(*wire.joined(data, shapes)) if shapes else None


def _shape(data: bytes, at: int, end: int) -> Axes:
    axes: Axes = []
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            size: int | None = None
            name = ""
            for inner, value, last in wire.fields(data, start, stop):  # a oneof: the last counts
                if inner == _SIZE:
                    size, name = wire.to_signed(value), ""
                elif inner == _2:
                    size, name = None, wire.text(data, value, last, "the name of a size")
            axes.append((None if size is None or size < 0 else size, name))
    return axes
