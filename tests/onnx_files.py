"""Small ONNX models, written field by field."""

from __future__ import annotations

from collections.abc import Sequence

from tfs_client._codec import wire

FLOAT, INT64, STRING = 1, 7, 8


Dims = Sequence[int | str | None]


def value(name: str, element: int = FLOAT, dims: Dims | None = ("batch", 2)) -> bytes:
    """A ValueInfoProto; sizes are numbers, names, or None, and ``dims=None`` leaves the shape out."""
    shape = b"" if dims is None else wire.delimited(2, b"".join(wire.delimited(1, _dim(size)) for size in dims))
    tensor = wire.varint(8) + wire.varint(element) + shape
    return wire.delimited(1, name.encode()) + wire.delimited(2, wire.delimited(1, tensor))


def _dim(size: int | str | None) -> bytes:
    if size is None:
        return b""
    if isinstance(size, str):
        return wire.delimited(2, size.encode())
    return wire.varint(8) + wire.signed_varint(size)


def weight(name: str, data: bytes = b"") -> bytes:
    """A TensorProto with raw data; the name comes first, as protobuf writes it."""
    return (
        wire.varint(8)
        + wire.varint(2)
        + wire.varint(16)
        + wire.varint(FLOAT)
        + wire.delimited(8, name.encode())
        + (wire.delimited(9, data))
    )


def model(
    inputs: Sequence[bytes], outputs: Sequence[bytes], weights: Sequence[bytes] = (), nodes: Sequence[bytes] = ()
) -> bytes:
    """A ModelProto with one graph."""
    graph = b"".join(wire.delimited(1, node) for node in nodes)
    graph += wire.delimited(2, b"graph") + b"".join(wire.delimited(5, each) for each in weights)
    graph += b"".join(wire.delimited(11, each) for each in inputs)
    graph += b"".join(wire.delimited(12, each) for each in outputs)
    return (
        wire.varint(8)
        + wire.varint(8)
        + wire.delimited(2, b"tests")
        + wire.delimited(7, graph)
        + (wire.delimited(8, wire.varint(16) + wire.varint(17)))
    )
