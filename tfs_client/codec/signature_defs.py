"""GetModelMetadata on the wire: the request, and the signatures in its reply. SavedModels hold them in the same form.

Read here rather than by protobuf because ``tfs-predict`` asks for signatures first: importing protobuf takes a quarter
of the time that a whole prediction from the shell takes otherwise (benchmarks/cold_start.py).

Messages: tensorflow_serving/apis/get_model_metadata.proto, tensorflow/core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfs_client.codec import model_spec, wire
from tfs_client.codec.dtypes import BY_NUMBER
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, reads
from tfs_client.shown import shown

FIELD = "signature_def"
TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

Message = tuple[bytes, int, int]  # in which bytes it lies, from where to where
Spans = list[tuple[int, int]]  # where the occurrences of a message field lie; protobuf merges them

SERVE = "serve"  # the tag of the graph that is for serving

_1, _2, _3, _4, _5 = (wire.tag(number, wire.LENGTH) for number in (1, 2, 3, 4, 5))
_DTYPE = wire.tag(2, wire.VARINT)
_SIZE = wire.tag(1, wire.VARINT)
_UNKNOWN_RANK = wire.tag(3, wire.VARINT)


def write_request(spec: ModelSpec) -> bytes:
    """A GetModelMetadataRequest for the signatures of a model version."""
    return wire.delimited(1, model_spec.write(spec)) + wire.delimited(2, FIELD.encode())


@reads("the reply of GetModelMetadata")
def read_response(data: bytes) -> tuple[ModelSpec, dict[str, Any]]:
    """Which version answered, and its signatures by name.

    Each signature is ``(inputs, outputs, method_name, defaulted)``: two mappings from alias to
    ``(dtype row, shape or None, tensor name)``, a text, and the aliases of inputs that have a default.
    Raises DecodeError.
    """
    specs: Spans = []
    signatures: dict[str, Any] = {}
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag == _1:
            wire.add_piece(specs, start, stop)
        elif tag == _2:
            field, value = _entry(data, start, stop)
            if field == FIELD:
                signatures = dict(_signatures(*_any(*value)))
    whole, start, stop = wire.joined(data, specs)
    return model_spec.read(whole[start:stop]), signatures


@reads("the SavedModel")
def read_saved_model(data: bytes) -> dict[str, Any] | None:
    """The signatures in the file of a SavedModel, as in ``read_response``; None without a graph for serving.

    Read here, and not by protobuf, because the file has the graph in it, of messages that this package does not have.
    Where several graphs are tagged "serve", the first counts, as for the model server with its default tags. Raises
    DecodeError.

    Messages: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto.
    """
    found: dict[str, Any] | None = None
    for tag, start, stop in wire.fields(data, 0, len(data)):  # to the end, for a file may be cut off
        if tag == _2 and found is None and _tags(data, start, stop) == {SERVE}:
            found = dict(_signatures(data, start, stop, _5))
    return found


def _tags(data: bytes, at: int, end: int) -> set[str]:
    """The tags of a MetaGraphDef."""
    return {
        wire.text(data, first, last, "a tag")
        for tag, start, stop in wire.fields(data, at, end)
        if tag == _1
        for inner, first, last in wire.fields(data, start, stop)
        if inner == _4
    }


def _entry(data: bytes, at: int, end: int) -> tuple[str, Message]:
    """A map entry with text keys."""
    key = ""
    values: Spans = []
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            key = wire.text(data, start, stop, "a name")
        elif tag == _2:
            wire.add_piece(values, start, stop)
    return key, wire.joined(data, values)


def _any(data: bytes, at: int, end: int) -> Message:
    """The message inside an Any."""
    url, value = "", (0, 0)
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _1:
            url = wire.text(data, start, stop, "a type URL")
        elif tag == _2:
            value = (start, stop)
    if url.rpartition("/")[2] != TYPE_URL.rpartition("/")[2]:
        raise DecodeError(f"expected signatures of type {TYPE_URL}, got {shown(url)}")
    return data, *value


def _signatures(data: bytes, at: int, end: int, field: int = _1) -> Iterator[tuple[str, Any]]:
    for tag, start, stop in wire.fields(data, at, end):
        if tag == field:
            name, value = _entry(data, start, stop)
            yield name, _signature(*value)


def _signature(data: bytes, at: int, end: int) -> tuple[dict[str, Any], dict[str, Any], str, set[str]]:
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    method, defaulted = "", set()
    for tag, start, stop in wire.fields(data, at, end):
        if tag in (_1, _2):
            alias, value = _entry(data, start, stop)
            (inputs if tag == _1 else outputs)[alias] = _tensor_info(*value)
        elif tag == _3:
            method = wire.text(data, start, stop, "a method name")
        elif tag == _4:
            defaulted.add(_entry(data, start, stop)[0])
    return inputs, outputs, method, defaulted


def _tensor_info(data: bytes, at: int, end: int) -> tuple[Any, tuple[int | None, ...] | None, str]:
    """dtype, shape and name. Sparse and composite tensors have no name of their own."""
    row, name = BY_NUMBER[0], ""
    shapes: Spans = []
    for tag, first, second in wire.fields(data, at, end):
        if tag == _1:
            name = wire.text(data, first, second, "a tensor name")
        elif tag in (_4, _5):  # one of name, sparse and composite: the last counts
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
