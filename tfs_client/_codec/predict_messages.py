"""Read and write PredictRequest and PredictResponse without protobuf (tensorflow_serving/apis/predict.proto).

Every prediction takes this path, so it is written for speed: the bytes before an array's values are computed once per
alias, dtype and shape; a request is one join of those few bytes with the arrays' buffers, which is the only copy; a
reply's tensors are views of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tfs_client._codec import model_spec, tensors, wire
from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._codec.message_layouts import Layouts
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.tensors import Buffer
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, EncodeError, unreadable

MAX_MESSAGE = tensors.MAX_MESSAGE

_INPUTS = 2  # fields of PredictRequest
_OUTPUT_FILTER = 3
_OUTPUTS = 1  # fields of PredictResponse

_FIELD_1 = wire.tag(1, wire.LENGTH)
_FIELD_2 = wire.tag(2, wire.LENGTH)
_FIELD_3 = wire.tag(3, wire.LENGTH)


# --- writing -----------------------------------------------------------------------------------------------------


Join = Callable[[Sequence[Buffer], int], bytes]
"""Joins the parts of a message, bytes and buffers, given their total size."""


def plain_join(parts: Sequence[Buffer], size: int) -> bytes:
    """Join the parts to new bytes."""
    return b"".join(parts)


def write_request(
    spec: ModelSpec, inputs: Mapping[str, Array], outputs: Iterable[str] = (), *, join: Join = plain_join
) -> bytes:
    """Write a PredictRequest.

    Args:
        spec: the model to run.
        inputs: arrays by alias; strings as object arrays of bytes or str.
        outputs: aliases of the wanted outputs; none means all.
        join: joins the parts of the message; a transport may reuse memory for it.

    Raises EncodeError for arrays that no tensor can hold, and for messages over 2 GiB.
    """
    if len(inputs) == 1 and not outputs:
        ((alias, array),) = inputs.items()
        known = _small.get((spec.name, alias))
        if known is not None and known[0] is spec and known[1] is array.dtype and known[2] == array.shape:
            return known[3] + array.tobytes()
    parts: list[Buffer] = [_framed(spec)]
    for alias, array in inputs.items():
        try:
            _add_entry(parts, _INPUTS, alias, array, typed=False)
        except EncodeError as error:
            raise EncodeError(f"input {alias!r}: {error}") from error.__cause__
        except MemoryError as error:
            raise EncodeError(f"input {alias!r}: {array.dtype} {shown(array.shape)} does not fit in memory") from error
    for alias in outputs:
        parts.append(_filtered(alias))
    size = _size(parts, "request")
    if size <= SMALL and len(inputs) == 1 and not outputs:
        _remember(spec, parts, inputs)
    return join(parts, size)


# A service sends one kind of small request again and again. Around a few values, looking up the parts, joining buffers
# and finding the size take longer, on cold caches, than everything else that is written (benchmarks/comparison): so the
# bytes before the values are remembered whole, by model and alias.
SMALL = 4096  # bytes of a request
_MOST_SMALL = 64
_small: dict[tuple[str, str], tuple[ModelSpec, np.dtype[np.generic], tuple[int, ...], bytes]] = {}


def _remember(spec: ModelSpec, parts: Sequence[Buffer], inputs: Mapping[str, Array]) -> None:
    """Remember the bytes before the values of a small request whose values are the memory of one array."""
    ((alias, array),) = inputs.items()
    if array.dtype.kind in "OSU" or not array.dtype.isnative or not tensors.LITTLE:
        return
    if len(_small) >= _MOST_SMALL:
        _small.clear()
    _small[spec.name, alias] = spec, array.dtype, array.shape, parts[0] + parts[1]


def front(spec: ModelSpec, outputs: Iterable[str]) -> bytes:
    """Write the parts of a PredictRequest that do not depend on its inputs. Fields may come in any order."""
    return _framed(spec) + b"".join(map(_filtered, outputs))


def input_head(alias: str, head: bytes, nbytes: int) -> bytes:
    """Write an input up to its last ``nbytes``; ``head`` is the beginning of its tensor."""
    return _entry(_INPUTS, alias, head, nbytes)


def _filtered(alias: str) -> bytes:
    return wire.delimited(_OUTPUT_FILTER, wire.utf8(alias, "an output alias"))


@lru_cache(maxsize=256)
def _framed(spec: ModelSpec) -> bytes:
    return wire.delimited(1, model_spec.write(spec))


def write_response(spec: ModelSpec, outputs: Mapping[str, Array], *, typed: bool = True) -> bytes:
    """Write a PredictResponse with its tensors in typed fields, or as tensor content, strings included."""
    parts: list[Buffer] = []
    for alias, array in outputs.items():
        _add_entry(parts, _OUTPUTS, alias, array, typed=typed, strings_as_content=not typed)
    parts.append(_closing(spec))
    return plain_join(parts, _size(parts, "response"))


@lru_cache(maxsize=256)
def _closing(spec: ModelSpec) -> bytes:
    return wire.delimited(2, model_spec.write(spec))


def _add_entry(
    parts: list[Buffer], number: int, alias: str, array: Array, *, typed: bool, strings_as_content: bool = False
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
def _content_entry(number: int, alias: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], nbytes: int) -> bytes:
    return _entry(number, alias, tensors.content_head(row_of(dtype), shape, nbytes), nbytes)


@lru_cache(maxsize=1024)
def _typed_entry(number: int, alias: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], nbytes: int) -> bytes:
    return _entry(number, alias, tensors.typed_head(row_of(dtype), shape, nbytes), nbytes)


def _entry(number: int, alias: str, head: bytes, size: int) -> bytes:
    """Return the bytes of a map entry before the last ``size`` bytes of its tensor, which begins with ``head``."""
    inner = wire.delimited(1, wire.utf8(alias, "an alias")) + wire.prefix(2, len(head) + size) + head
    return wire.prefix(number, len(inner) + size) + inner


def _size(parts: list[Buffer], what: str) -> int:
    size = 0
    for part in parts:
        size += part.nbytes if type(part) is np.ndarray else len(part)
    if size > MAX_MESSAGE:
        raise too_large(size, what)
    return size


def too_large(size: int, what: str) -> EncodeError:
    """The error of a message that protobuf cannot hold."""
    return EncodeError(f"expected a {what} of at most {MAX_MESSAGE} bytes, got {size}; send it in smaller batches")


# --- reading -----------------------------------------------------------------------------------------------------


_layouts: Layouts[ModelSpec] = Layouts()


def read_response(data: bytes) -> tuple[ModelSpec, dict[str, Array]]:
    """Read the model that answered, and its outputs by alias, as read-only views of ``data`` where possible.

    Raises DecodeError, naming the output, if ``data`` is not a PredictResponse.
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
    """A PredictRequest whose tensors are not decoded yet, because the server's checks have a fixed order.

    Attributes:
        spec: the ModelSpec, or None if the request has none.
        inputs: the spans of the tensor of each alias; see ``read_tensor``.
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
        """Learn the layout of a valid request with these tensors, to read similar ones faster."""
        if inputs.keys() == self.inputs.keys():
            _request_layouts.learn(self.data, (self.spec, self.outputs), inputs)


class KnownRequest:
    """A PredictRequest with a known layout, whose tensors are already decoded."""

    __slots__ = ("inputs", "outputs", "spec")

    def __init__(self, spec: ModelSpec | None, inputs: Mapping[str, Array], outputs: Sequence[str]) -> None:
        self.spec = spec
        self.inputs = inputs
        self.outputs = outputs

    def tensor(self, alias: str) -> Array:
        """Return one input."""
        return self.inputs[alias]

    def good(self, inputs: Mapping[str, Array]) -> None:
        """No-op: the layout is already known."""


_request_layouts: Layouts[tuple[ModelSpec | None, Sequence[str]]] = Layouts()


def read_request(data: bytes) -> Request | KnownRequest:
    """Read a PredictRequest except its tensors. Raises DecodeError."""
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
    """Decode the tensor of an "input" or "output" at ``spans`` of ``data``; several spans are merged."""
    try:
        return tensors.read(*wire.joined(data, spans))
    except DecodeError as error:
        raise DecodeError(f"{kind} {shown(alias)}: {error}") from None
    except Exception as error:
        raise unreadable(f"{kind} {shown(alias)}", error) from error


def _read_entry(data: bytes, at: int, end: int) -> tuple[str, list[tuple[int, int]]]:
    """Read a map entry: the alias, and the spans of its tensor. Absent fields are empty, as in any protobuf map."""
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
