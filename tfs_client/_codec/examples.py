"""tf.Example messages from Python values, and the Input that carries them (tensorflow/core/example/example.proto).

Examples are passed as

- rows: a list with a mapping from feature to value for each example, or with serialized examples;
- columns: one mapping from feature to values, whose first axis is the example.

A value is a number, text, bytes, or a list, tuple or array of them; None leaves the feature out. ``features`` converts
the values, and ``containers`` reads the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfs_client._codec import containers, features, wire
from tfs_client._codec.dtypes import Array
from tfs_client._codec.protobuf_messages import is_message, message_bytes
from tfs_client.errors import DecodeError, EncodeError, reads

_LIST, _LIST_WITH_CONTEXT = wire.tag(1, wire.LENGTH), wire.tag(2, wire.LENGTH)  # the kinds of an Input
MAX_JOINED = 0x7FFFFFFF  # bytes of all examples, each with the context before it: the limit of one message

_COLUMN = "a column has a value for each example (a single example goes in a list, [{...}]): expected a list or array"
_FORMS = "a list of mappings, a list of serialized examples, or a mapping from feature to a column"


def serialized_examples(rows_or_columns: object, context: object = None) -> Array:
    """Serialize tf.Examples for a model that takes them as one string input: an object array of bytes.

    Models exported by TFX or TF-Ranking have a signature for ``predict`` with a single string input, which parses
    tf.Examples. ::

        client.predict({"examples": serialized_examples([{"miles": 1.5}, {"miles": 3.0}])})

    Args:
        rows_or_columns: a list with a mapping from feature to value for each example, serialized examples or messages
            among them; or one mapping from feature to a column with a value for each example; or a table (of pandas,
            Polars, Arrow or xarray), whose columns are the features. Integers and bools become int64 features, floats
            float32 features, text and bytes bytes features; None, and what pandas, Polars or Arrow mark as missing,
            leaves a feature out.
        context: for ranking models: the features that all these examples share, such as those of a query. Several
            queries are a list with the examples of each, and a list of contexts.

    Returns shape (n,), one tf.Example each. With a context, shape (1,), or one element for each of several queries: the
    bytes of an ExampleListWithContext (tensorflow_serving/apis/input.proto). Map entries are sorted, as in protobuf's
    deterministic serialization, so equal examples have equal bytes.

    Raises EncodeError, naming the example and the feature, for values that no example can hold.
    """
    if context is None:
        return _strings(_serialized(rows_or_columns))
    if not isinstance(context, (list, tuple)):
        return _strings([_with_context(rows_or_columns, context)])
    if isinstance(rows_or_columns, Mapping) or containers.is_table(rows_or_columns):
        raise EncodeError(
            "expected a list with the examples of each query for several contexts, got one set of columns"
        )
    queries = _listed(rows_or_columns)
    if len(queries) != len(context):
        raise EncodeError(f"expected a context for each query, got {len(context)} for {len(queries)} queries")
    found = []
    for index, (examples, own) in enumerate(zip(queries, context, strict=True)):
        if isinstance(examples, Mapping):  # ambiguous: one example of many values, or many of one value
            raise EncodeError(f"query {index}: expected a list or table of its examples, got a mapping")
        try:
            found.append(_with_context(examples, own))
        except EncodeError as error:
            raise EncodeError(f"query {index}: {error}") from error.__cause__
    return _strings(found)


def serialized_sequence_examples(feature_lists: object, context: object = None) -> Array:
    """Serialize tf.SequenceExamples for a model that takes them as one string input: bytes of shape (n,).

    ::

        serialized_sequence_examples(
            [{"clicks": [[3, 5], [7]], "page": ["home", "cart"]}],  # two steps; one has several clicks
            context=[{"country": "NZ"}],
        )

    Args:
        feature_lists: a list with a mapping from feature to its steps for each example; or one mapping from feature to
            a column with the steps of each example, or a table of such columns. Each step is a value as in
            ``serialized_examples``; None is a step without values, and None instead of the steps leaves a feature out.
            Serialized SequenceExamples and messages are used unchanged.
        context: the features of each example that are not sequences, also as rows or columns; None for none. It can
            also be passed with the sequences: ``[{"context": {...}, "feature_lists": {...}}]``.

    Raises EncodeError, naming the example and the feature, for values that no example can hold.
    """
    bodies = _each(feature_lists, _one_sequence, _sequence_columns)
    if context is None:
        return _strings(bodies)
    heads = _each(context, lambda own: b"" if own is None else one(own), _example_columns)
    if len(heads) != len(bodies):
        raise EncodeError(f"expected a context for each example, got {len(heads)} for {len(bodies)} examples")
    return _strings([head + body for head, body in zip(heads, bodies, strict=True)])


def serialized(examples: object) -> list[bytes]:
    """Serialize every example of a call. Raises EncodeError, naming the example and the feature."""
    containers.refuse_table(examples)
    return _serialized(examples)


def one(example: object) -> bytes:
    """Serialize a single example: a mapping from feature to value, the bytes of a tf.Example, or a message."""
    if isinstance(example, bytes):
        return example
    if isinstance(example, Mapping):
        return write(example)
    if is_message(type(example)):
        return message_bytes(example)
    hint = "; for a row of a frame, pass row.to_dict()" if hasattr(type(example), "to_dict") else ""
    raise EncodeError(f"expected a mapping from feature to value, or a tf.Example, got {type(example).__name__}{hint}")


def write(example: Mapping[str, object]) -> bytes:
    """Serialize a tf.Example with these features."""
    return wire.delimited(1, features.write_features(example))


def _serialized(examples: object) -> list[bytes]:
    return _each(examples, one, _example_columns)


def _each(
    examples: object, each: Callable[[Any], bytes], by_columns: Callable[[dict[str, containers.Rows], int], list[bytes]]
) -> list[bytes]:
    """Serialize every example, passed as rows or as columns."""
    if isinstance(examples, Mapping) or containers.is_table(examples):
        columns, count = _columns(examples)
        return by_columns(columns, count)
    found = []
    for index, example in enumerate(_listed(examples)):
        try:
            found.append(each(example))
        except EncodeError as error:
            raise EncodeError(f"example {index}: {error}") from error.__cause__
    return found


def _listed(examples: object) -> containers.Rows:
    if isinstance(examples, (str, bytes)) or not isinstance(examples, Iterable):
        raise EncodeError(f"expected examples as {_FORMS}, got {type(examples).__name__}")
    return containers.rows(examples)


def _columns(examples: Any) -> tuple[dict[str, containers.Rows], int]:
    """Return columns of one length, and that length."""
    found = {}
    for name, column in (containers.columns(examples) if containers.is_table(examples) else examples).items():
        try:
            found[name] = containers.rows(column, _COLUMN)
        except EncodeError as error:
            raise EncodeError(f"feature {name!r}: {error}") from error.__cause__
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise EncodeError(f"expected columns of one length, got {lengths}")
    return found, next(iter(lengths.values()), 0)


def _example_columns(columns: Mapping[str, containers.Rows], count: int) -> list[bytes]:
    return [wire.delimited(1, body) for body in features.write_columns(columns, count)]


def _sequence_columns(columns: Mapping[str, containers.Rows], count: int) -> list[bytes]:
    rows = ({name: column[index] for name, column in columns.items()} for index in range(count))
    return _each(list(rows), _one_sequence, _sequence_columns)


def _one_sequence(example: object) -> bytes:
    """Serialize a SequenceExample from a mapping from feature to steps, or one with a context and feature_lists."""
    if not isinstance(example, Mapping):
        return one(example)
    if set(example) <= {"context", "feature_lists"} and any(isinstance(part, Mapping) for part in example.values()):
        context, lists = example.get("context"), example.get("feature_lists") or {}
        head = b"" if context is None else write(context)
    else:
        head, lists = b"", example
    return head + wire.delimited(2, features.write_lists(lists))


def _with_context(examples: object, context: object) -> bytes:
    """Serialize an ExampleListWithContext."""
    try:
        shared = one(context)
    except EncodeError as error:
        raise EncodeError(f"context: {error}") from error.__cause__
    return _listed_with(_serialized(examples), shared)


def _listed_with(examples: Iterable[bytes], context: bytes) -> bytes:
    return b"".join(wire.delimited(1, example) for example in examples) + wire.delimited(2, context)


def _strings(values: list[bytes]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def write_input(examples: Iterable[bytes], context: bytes | None = None) -> bytes:
    """An Input message (tensorflow_serving/apis/input.proto): the examples, with a context if they share one."""
    if context is None:
        return wire.delimited(1, b"".join(wire.delimited(1, example) for example in examples))
    return wire.delimited(2, _listed_with(examples, context))


@reads("the examples")
def read_input(data: bytes) -> list[bytes]:
    """The examples of an Input, each as the model gets it: the context's bytes before its own. Raises DecodeError."""
    kind = 0
    spans: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag in (_LIST, _LIST_WITH_CONTEXT):
            if tag != kind:  # of the two kinds, the last one counts
                kind, spans = tag, []
            wire.add_piece(spans, start, stop)
    examples: list[bytes] = []
    contexts: list[tuple[int, int]] = []
    whole, at, end = wire.joined(data, spans)
    for tag, start, stop in wire.fields(whole, at, end):
        if tag == wire.tag(1, wire.LENGTH):
            examples.append(whole[start:stop])
        elif tag == wire.tag(2, wire.LENGTH) and kind == _LIST_WITH_CONTEXT:
            wire.add_piece(contexts, start, stop)
    context = data_of(whole, contexts)
    if not context:
        return examples
    size = len(context) * len(examples) + sum(map(len, examples))
    if size > MAX_JOINED:  # a small request must not use up the memory
        raise DecodeError(f"expected examples of at most {MAX_JOINED} bytes with their context, got {size}")
    return [context + example for example in examples]


@reads("the request")
def read_request(data: bytes) -> tuple[bytes | None, list[bytes]]:
    """Read a ClassificationRequest or a RegressionRequest: the ModelSpec's bytes or None, and the examples."""
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
    """Return the bytes of a message field, merged if it comes in pieces."""
    whole, start, stop = wire.joined(data, spans)
    return whole[start:stop]
