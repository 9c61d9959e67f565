"""Write GetModelMetadata requests, and read the signatures in the replies, without protobuf.

``tfs-predict`` needs the signatures first, and importing protobuf would add a quarter to the time of a whole prediction
from the shell (benchmarks/cold_start.py).

Messages: tensorflow_serving/apis/get_model_metadata.proto, tensorflow/core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfs_client._codec import model_spec, wire
from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import BY_NUMBER, DType
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

FIELD = "signature_def"
TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

TensorInfo = tuple[DType, tuple[int | None, ...] | None, str]
"""dtype, shape (None if unknown) and name of a tensor."""
SignatureInfo = tuple[dict[str, TensorInfo], dict[str, TensorInfo], str, dict[str, bytes]]
"""Inputs and outputs by alias, the method's name, and defaults of inputs as TensorProtos, b"" for unknown values."""

Message = tuple[bytes, int, int]  # the bytes that contain it, its start and stop
Spans = list[tuple[int, int]]  # the occurrences of a message field, which protobuf merges

_1, _2, _3, _4, _5 = (wire.tag(number, wire.LENGTH) for number in (1, 2, 3, 4, 5))
_DTYPE = wire.tag(2, wire.VARINT)
_SIZE = wire.tag(1, wire.VARINT)
_UNKNOWN_RANK = wire.tag(3, wire.VARINT)


def write_request(spec: ModelSpec) -> bytes:
    """Write a GetModelMetadataRequest for the signatures of a model version."""
    return wire.delimited(1, model_spec.write(spec)) + wire.delimited(2, FIELD.encode())


@reads("the reply of GetModelMetadata")
def read_response(data: bytes) -> tuple[ModelSpec, dict[str, SignatureInfo]]:
    """Read the version that answered, and its signatures by name.

    Raises DecodeError.
    """
    specs: Spans = []
    signatures: dict[str, SignatureInfo] = {}
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag == _1:
            wire.add_piece(specs, start, stop)
        elif tag == _2:
            field, value = entry(data, start, stop)
            if field == FIELD:
                signatures = dict(_signatures(*_any(*value)))
    whole, start, stop = wire.joined(data, specs)
    return model_spec.read(whole[start:stop]), signatures


def entry(data: bytes, at: int, end: int) -> tuple[str, Message]:
    """Read a map entry with a text key."""
    key = ""
    values: Spans = []
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            key = wire.text(data, start, stop, "a name")
        elif tag == _2:
            wire.add_piece(values, start, stop)
    return key, wire.joined(data, values)


def _any(data: bytes, at: int, end: int) -> Message:
    """Return the message inside an Any."""
    url, value = "", (0, 0)
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            url = wire.text(data, start, stop, "a type URL")
        elif tag == _2:
            value = (start, stop)
    if url.rpartition("/")[2] != TYPE_URL.rpartition("/")[2]:
        raise DecodeError(f"expected signatures of type {TYPE_URL}, got {shown(url)}")
    return data, *value


def _signatures(data: bytes, at: int, end: int) -> Iterator[tuple[str, SignatureInfo]]:
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            name, value = entry(data, start, stop)
            yield name, signature(*value)


def signature(data: bytes, at: int, end: int) -> SignatureInfo:
    """Read a SignatureDef. Raises DecodeError."""
    inputs: dict[str, TensorInfo] = {}
    outputs: dict[str, TensorInfo] = {}
    method, defaults = "", dict[str, bytes]()
    for tag, start, stop in wire.fields(data, at, end):
        if tag in (_1, _2):
            alias, value = entry(data, start, stop)
            (inputs if tag == _1 else outputs)[alias] = _tensor_info(*value)
        elif tag == _3:
            method = wire.text(data, start, stop, "a method name")
        elif tag == _4:
            alias, (whole, first, last) = entry(data, start, stop)
            defaults[alias] = whole[first:last]
    return inputs, outputs, method, defaults


def axis_names(data: bytes) -> AxisNames:
    """Read the names of sizes in a SignatureDef. Raises DecodeError."""
    found: tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]] = {}, {}
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag in (_1, _2):
            alias, tensor = entry(data, start, stop)
            names = tuple(_axis_names(*tensor))
            if any(names):
                found[tag == _2][alias] = names
    return AxisNames(*found)


def _axis_names(data: bytes, at: int, end: int) -> Iterator[str]:
    shapes: Spans = [(start, stop) for tag, start, stop in wire.fields(data, at, end) if tag == _3]
    data, at, end = wire.joined(data, shapes)
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _2:
            name = ""
            for inner, first, last in wire.fields(data, start, stop):
                if inner == _2:
                    name = wire.text(data, first, last, "the name of a size")
            yield name


def _tensor_info(data: bytes, at: int, end: int) -> TensorInfo:
    """Read dtype, shape and name. Sparse and composite tensors do not have a name."""
    row, name = BY_NUMBER[0], ""
    shapes: Spans = []
    for tag, first, second in wire.fields(data, at, end):
        if tag == _1:
            name = wire.text(data, first, second, "a tensor name")
        elif tag in (_4, _5):  # a oneof of name, sparse and composite: the last counts
            name = ""
        elif tag == _DTYPE:
            row = BY_NUMBER.get(wire.to_enum(first), BY_NUMBER[0])
        elif tag == _3:
            wire.add_piece(shapes, first, second)
    return row, _shape(*wire.joined(data, shapes)), name


def _shape(data: bytes, at: int, end: int) -> tuple[int | None, ...] | None:
    sizes: list[int | None] = []
    unknown = 0
    for tag, first, second in wire.fields(data, at, end):
        if tag == _UNKNOWN_RANK:
            unknown = first
        elif tag == _2:
            size = 0
            for inner, value, _ in wire.fields(data, first, second):
                if inner == _SIZE:
                    size = wire.to_signed(value)
            sizes.append(None if size < 0 else size)
    return None if unknown else tuple(sizes)
