"""tf.Example messages from Python values, and the Input that carries them (tensorflow/core/example/example.proto).

Examples are given as

- rows: a list with a mapping from feature to value for each example, or with serialized examples;
- columns: one mapping from feature to values, whose first axis is the example.

A value is a number, text, bytes, or a list, tuple or array of them; None leaves the feature out. Integers and bools
become an int64_list, floats a float_list, text (as UTF-8) and bytes a bytes_list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfs_client.codec import varints, wire
from tfs_client.codec.values import as_array
from tfs_client.errors import DecodeError, EncodeError

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of Feature

MAX_JOINED = 0x7FFFFFFF  # bytes of all examples, each with the context before it; what one message could hold

_FORMS = "a list of mappings, a list of serialized examples, or a mapping from feature to a column"


def serialized(examples: Any) -> list[bytes]:
    """Every example as the bytes of a tf.Example. Raises EncodeError, naming the example and the feature."""
    if isinstance(examples, Mapping):
        examples = list(_rows(examples))
    elif isinstance(examples, (str, bytes)) or not isinstance(examples, Iterable):
        raise EncodeError(f"expected examples as {_FORMS}, got {type(examples).__name__}")
    found = []
    for index, example in enumerate(examples):
        try:
            found.append(one(example))
        except EncodeError as error:
            raise EncodeError(f"example {index}: {error}") from error.__cause__
    return found


def one(example: Any) -> bytes:
    """A single example: a mapping from feature to value, the bytes of a tf.Example, or such a message."""
    if isinstance(example, bytes):
        return example
    if isinstance(example, Mapping):
        return write(example)
    if hasattr(example, "SerializeToString"):
        data: bytes = example.SerializeToString()
        return data
    raise EncodeError(f"expected a mapping from feature to value, or a tf.Example, got {type(example).__name__}")


def _rows(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    lengths = {}
    for name, column in columns.items():
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__") or getattr(column, "shape", None) == ():
            raise EncodeError(
                f"feature {name!r}: a column has a value for each example, got {type(column).__name__}; "
                "a single example goes in a list: [{...}]"
            )
        lengths[name] = len(column)
    if len(set(lengths.values())) > 1:
        raise EncodeError(f"expected columns of one length, got {lengths}")
    for index in range(next(iter(lengths.values()), 0)):
        yield {name: column[index] for name, column in columns.items()}


def write(features: Mapping[str, Any]) -> bytes:
    """A tf.Example of these features."""
    entries = []
    for name, value in features.items():
        if value is None:
            continue
        try:
            feature = _feature(value)
        except EncodeError as error:
            raise EncodeError(f"feature {name!r}: {error}") from error.__cause__
        entry = wire.delimited(1, wire.utf8(name, "a feature's name")) + wire.delimited(2, feature)
        entries.append(wire.delimited(1, entry))
    return wire.delimited(1, b"".join(entries))


def _feature(value: Any) -> bytes:
    array = as_array(value).reshape(-1)
    kind = array.dtype.kind
    if kind in "OSU":
        values = [wire.utf8(item, "text") if isinstance(item, str) else item for item in array.tolist()]
        return wire.delimited(_BYTES_LIST, b"".join(wire.delimited(1, item) for item in values))
    if kind == "f":
        if not array.size:  # an empty list has no kind of its own; it is a feature without values
            return b""
        with np.errstate(over="raise"):
            try:
                floats = array.astype("<f4")
            except FloatingPointError:
                raise EncodeError("an example holds float32; expected floats that fit it") from None
        return wire.delimited(_FLOAT_LIST, wire.delimited(1, floats.tobytes()))
    if kind not in "biu" or (kind == "u" and array.size and int(array.max()) >> 63):
        raise EncodeError(f"an example holds int64, float32 and bytes, got {array.dtype}")
    return wire.delimited(_INT64_LIST, wire.delimited(1, varints.encode(array.astype(np.int64))))


def write_input(examples: Iterable[bytes], context: bytes | None = None) -> bytes:
    """An Input message (tensorflow_serving/apis/input.proto): the examples, with a context if they share one."""
    body = b"".join(wire.delimited(1, example) for example in examples)
    if context is None:
        return wire.delimited(1, body)
    return wire.delimited(2, body + wire.delimited(2, context))


def read_input(data: bytes) -> list[bytes]:
    """The examples of an Input, each as the model gets it: the context's bytes before its own. Raises DecodeError."""
    kind, span = 0, (0, 0)
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag in (wire.tag(1, wire.LENGTH), wire.tag(2, wire.LENGTH)):
            kind, span = tag >> 3, (start, stop)  # of the two kinds the last one counts
    examples, context = [], b""
    for tag, start, stop in wire.fields(data, *span):
        if tag == wire.tag(1, wire.LENGTH):
            examples.append(data[start:stop])
        elif tag == wire.tag(2, wire.LENGTH) and kind == 2:
            context += data[start:stop]  # a message given twice is merged
    if not context:
        return examples
    size = len(context) * len(examples) + sum(map(len, examples))
    if size > MAX_JOINED:  # a few bytes of request must not take all memory
        raise DecodeError(f"expected examples of at most {MAX_JOINED} bytes with their context, got {size}")
    return [context + example for example in examples]


def read_request(data: bytes) -> tuple[bytes | None, list[bytes]]:
    """A ClassificationRequest or RegressionRequest, which look alike: the ModelSpec's bytes or None, the examples."""
    specs: list[tuple[int, int]] = []
    inputs: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag == wire.tag(1, wire.LENGTH):
            wire.add_piece(specs, start, stop)
        elif tag == wire.tag(2, wire.LENGTH):
            wire.add_piece(inputs, start, stop)
    spec = data_of(data, specs) if specs else None
    return spec, read_input(data_of(data, inputs)) if inputs else []


def data_of(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    """A message field, merged where it comes in pieces."""
    whole, start, stop = wire.joined(data, spans)
    return whole[start:stop]
