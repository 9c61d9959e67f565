"""PredictRequest and PredictResponse to arrays and back, on the wire (tensorflow_serving/apis/predict.proto).

This is the path that every prediction takes, so it is written for speed: the bytes before an array's own are computed
once per alias, dtype and shape; a request is one join of those few bytes with the arrays' buffers, which is the only
copy; a reply's tensors are views of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tfs_client.codec import model_spec, tensors, wire
from tfs_client.codec.dtypes import STRING, row_of
from tfs_client.codec.layouts import Layouts
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, EncodeError, unreadable
from tfs_client.shown import shown

Array = np.ndarray[Any, Any]

MAX_MESSAGE = tensors.MAX_MESSAGE

_INPUTS = 2  # fields of PredictRequest
_OUTPUT_FILTER = 3
_OUTPUTS = 1  # fields of PredictResponse

_FIELD_1 = wire.tag(1, wire.LENGTH)
_FIELD_2 = wire.tag(2, wire.LENGTH)
_FIELD_3 = wire.tag(3, wire.LENGTH)


# --- writing -----------------------------------------------------------------------------------------------------


Join = Callable[[Sequence[Any], int], bytes]
"""Makes one message of its parts, bytes and buffers, and their size in all."""


def plain_join(parts: Sequence[Any], size: int) -> bytes:
    """The parts as new bytes."""
    return b"".join(parts)


def write_request(
    spec: ModelSpec, inputs: Mapping[str, Array], outputs: Iterable[str] = (), *, join: Join = plain_join
) -> bytes:
    """A PredictRequest.

    Args:
        spec: which model is to run.
        inputs: arrays by alias; strings as object arrays of bytes or str.
        outputs: aliases of the wanted outputs; none means all.
        join: makes the message of its parts; a transport may have memory for it.

    Raises EncodeError for arrays no tensor can hold, and for messages over 2 GiB.
    """
    parts: list[Any] = [_framed(spec)]
    for alias, array in inputs.items():
        try:
            _add_entry(parts, _INPUTS, alias, array, typed=False)
        except EncodeError as error:
            raise EncodeError(f"input {alias!r}: {error}") from error.__cause__
        except MemoryError as error:
            raise EncodeError(f"input {alias!r}: {array.dtype} {shown(array.shape)} does not fit in memory") from error
    for alias in outputs:
        parts.append(wire.delimited(_OUTPUT_FILTER, wire.utf8(alias, "an output alias")))
    return join(parts, _size(parts, "request"))


@lru_cache(maxsize=256)
def _framed(spec: ModelSpec) -> bytes:
    return wire.delimited(1, model_spec.write(spec))


def write_response(spec: ModelSpec, outputs: Mapping[str, Array], *, typed: bool = True) -> bytes:
    """A PredictResponse with its tensors in typed fields, or as tensor content, strings included."""
    parts: list[Any] = []
    for alias, array in outputs.items():
        _add_entry(parts, _OUTPUTS, alias, array, typed=typed, strings_as_content=not typed)
    parts.append(_closing(spec))
    return plain_join(parts, _size(parts, "response"))


@lru_cache(maxsize=256)
def _closing(spec: ModelSpec) -> bytes:
    return wire.delimited(2, model_spec.write(spec))


def _add_entry(
    parts: list[Any], number: int, alias: str, array: Array, *, typed: bool, strings_as_content: bool = False
) -> None:
    dtype = array.dtype
    if not typed and dtype.kind not in "OSU":
        parts.append(_content_entry(number, alias, dtype, array.shape, array.nbytes))
        if array.nbytes:
            parts.append(tensors.memory(array))
        return
    row = row_of(dtype)
    if row.field in tensors.IN_MEMORY:
        parts.append(_typed_entry(number, alias, dtype, array.shape, array.nbytes))
        if array.nbytes:
            parts.append(tensors.memory(array))
        return
    before, payload = _strings(array, strings_as_content) if row is STRING else tensors.values_field(array, row)
    size = len(before) + memoryview(payload).nbytes
    parts += [_entry(number, alias, tensors.head(row, array.shape), size), before, payload]


def _strings(array: Array, as_content: bool) -> tuple[bytes, bytes]:
    if not as_content:
        return b"", tensors.strings_field(array)
    content = tensors.strings_content(array)
    return (wire.prefix(4, len(content)) if content else b""), content


@lru_cache(maxsize=1024)
def _content_entry(number: int, alias: str, dtype: np.dtype[Any], shape: tuple[int, ...], nbytes: int) -> bytes:
    return _entry(number, alias, tensors.content_head(row_of(dtype), shape, nbytes), nbytes)


@lru_cache(maxsize=1024)
def _typed_entry(number: int, alias: str, dtype: np.dtype[Any], shape: tuple[int, ...], nbytes: int) -> bytes:
    return _entry(number, alias, tensors.typed_head(row_of(dtype), shape, nbytes), nbytes)


def _entry(number: int, alias: str, head: bytes, size: int) -> bytes:
    """The bytes of a map entry before the ``size`` last bytes of its tensor, which begins with ``head``."""
    inner = wire.delimited(1, wire.utf8(alias, "an alias")) + wire.prefix(2, len(head) + size) + head
    return wire.prefix(number, len(inner) + size) + inner


def _size(parts: list[Any], what: str) -> int:
    size = 0
    for part in parts:
        size += part.nbytes if type(part) is np.ndarray else len(part)
    if size > MAX_MESSAGE:
        raise EncodeError(f"expected a {what} of at most {MAX_MESSAGE} bytes, got {size}; send it in smaller batches")
    return size


# --- reading -----------------------------------------------------------------------------------------------------


_layouts: Layouts[ModelSpec] = Layouts()


def read_response(data: bytes) -> tuple[ModelSpec, dict[str, Array]]:
    """Which model answered, and its outputs by alias, as read-only views of ``data`` where the encoding allows.

    Raises DecodeError where ``data`` is no PredictResponse, naming the output that is at fault.
    """
    known = _layouts.read(data)
    if known is not None:
        return known
    specs: list[tuple[int, int]] = []
    outputs: dict[str, Array] = {}
    try:
        for tag, start, stop in wire.fields(data, 0, len(data)):
            if tag == _FIELD_1:
                alias, spans = _read_entry(data, start, stop)
                outputs[alias] = read_tensor(data, spans, "output", alias)
            elif tag == _FIELD_2:
                wire.add_piece(specs, start, stop)
        spec = _read_spec(data, specs)
        _layouts.learn(data, spec, outputs)
        return spec, outputs
    except DecodeError:
        raise
    except Exception as error:
        raise unreadable("the reply of Predict", error) from error


@dataclass(frozen=True)
class Request:
    """A PredictRequest as it came: the tensors are still bytes, for the server's checks have an order.

    Attributes:
        spec: the ModelSpec, or None when the request has none.
        inputs: where the tensor of each alias lies; see ``read_tensor``.
        outputs: the output filter.
    """

    data: bytes
    spec: ModelSpec | None
    inputs: Mapping[str, list[tuple[int, int]]]
    outputs: Sequence[str]

    def tensor(self, alias: str) -> Array:
        """Decode one input. Raises DecodeError."""
        return read_tensor(self.data, self.inputs[alias], "input", alias)

    def good(self, inputs: Mapping[str, Array]) -> None:
        """The request was in order, and these are its tensors: the next one like it is read faster."""
        if inputs.keys() == self.inputs.keys():
            _request_layouts.learn(self.data, (self.spec, self.outputs), inputs)


class KnownRequest:
    """A PredictRequest of a layout that has been seen: its tensors cost nothing, so they are here already."""

    __slots__ = ("inputs", "outputs", "spec")

    def __init__(self, spec: ModelSpec | None, inputs: Mapping[str, Array], outputs: Sequence[str]) -> None:
        self.spec = spec
        self.inputs = inputs
        self.outputs = outputs

    def tensor(self, alias: str) -> Array:
        """One input."""
        return self.inputs[alias]

    def good(self, inputs: Mapping[str, Array]) -> None:
        """No-op: this request has no layout to learn."""


_request_layouts: Layouts[tuple[ModelSpec | None, Sequence[str]]] = Layouts()


def read_request(data: bytes) -> Request | KnownRequest:
    """Read the frame of a PredictRequest. Raises DecodeError."""
    known = _request_layouts.read(data)
    if known is not None:
        (spec, wanted), found = known
        return KnownRequest(spec, found, wanted)
    specs: list[tuple[int, int]] = []
    inputs: dict[str, list[tuple[int, int]]] = {}
    outputs: list[str] = []
    try:
        for tag, start, stop in wire.fields(data, 0, len(data)):
            if tag == _FIELD_1:
                wire.add_piece(specs, start, stop)
            elif tag == _FIELD_2:
                alias, spans = _read_entry(data, start, stop)
                inputs[alias] = spans
            elif tag == _FIELD_3:
                outputs.append(wire.text(data, start, stop, "the output filter"))
        return Request(data, _read_spec(data, specs) if specs else None, inputs, outputs)
    except DecodeError:
        raise
    except Exception as error:
        raise unreadable("the request of Predict", error) from error


def read_tensor(data: bytes, spans: list[tuple[int, int]], kind: str, alias: str) -> Array:
    """The tensor of an "input" or "output" that lies at ``spans`` of ``data``: one span, or several to be merged."""
    try:
        return tensors.read(*wire.joined(data, spans))
    except DecodeError as error:
        raise DecodeError(f"{kind} {shown(alias)}: {error}") from None
    except Exception as error:
        raise unreadable(f"{kind} {shown(alias)}", error) from error


def _read_entry(data: bytes, at: int, end: int) -> tuple[str, list[tuple[int, int]]]:
    """A map entry: the alias, and the spans of its tensor. Absent fields are empty, as in any protobuf map."""
    alias = ""
    spans: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(data, at, end):
        if tag == _FIELD_1:
            alias = wire.text(data, start, stop, "an alias")
        elif tag == _FIELD_2:
            wire.add_piece(spans, start, stop)
    return alias, spans


def _read_spec(data: bytes, spans: list[tuple[int, int]]) -> ModelSpec:
    whole, start, stop = wire.joined(data, spans)
    return model_spec.read(whole[start:stop])
