"""tf.Examples from rows and columns: what protobuf makes of the same features, byte for byte."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import Labelled

from tfs_client import EncodeError, serialized_examples, serialized_sequence_examples
from tfs_client._codec import examples as codec
from tfs_client._codec import wire
from tfs_client._codec.values import as_array
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example, SequenceExample
from tfs_client.protos.tensorflow.core.example.feature_pb2 import Feature
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow_serving.apis.input_pb2 import ExampleListWithContext

FLOAT32 = st.floats(width=32)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=5)
SCALAR = st.one_of(FLOAT32, INT64, st.booleans(), TEXT, st.binary(max_size=5))
LISTS = st.one_of(*(st.lists(one, min_size=1, max_size=6) for one in (FLOAT32, INT64, st.booleans(), TEXT)))
ROWS = st.lists(st.dictionaries(TEXT, st.one_of(SCALAR, LISTS, st.none()), max_size=4), max_size=4)


def feature_of(value):
    """A Feature as a user of protobuf builds it."""
    feature = Feature()
    values = list(value) if isinstance(value, (list, np.ndarray)) else [value]
    if isinstance(values[0], (str, bytes)):
        feature.bytes_list.value.extend([text.encode() if isinstance(text, str) else text for text in values])
    elif isinstance(values[0], (float, np.floating)):
        feature.float_list.value.extend(values)
    else:
        feature.int64_list.value.extend(map(int, values))
    return feature


def built(row):
    example = Example()
    example.features.SetInParent()
    for name, value in row.items():
        if value is not None:
            example.features.feature[name].CopyFrom(feature_of(value))
    return example.SerializeToString(deterministic=True)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_rows_have_the_bytes_of_protobufs_deterministic_serialization(rows):
    found = serialized_examples(rows)
    assert found.shape == (len(rows),)
    assert found.tolist() == [built(row) for row in rows]


@pytest.mark.parametrize("values", [[0.5, 1.0], [-1, 300], [True, False], ["a", "ä"], [b"\xff", b""]])
def test_long_lists_have_the_bytes_of_short_ones(values):
    rows = [{"x": values * count} for count in (1, 31, 32, 33, 5000)]
    assert serialized_examples(rows).tolist() == [built(row) for row in rows]
    assert serialized_examples({"x": [row["x"] for row in rows]}).tolist() == [built(row) for row in rows]


COLUMN = st.sampled_from([FLOAT32, INT64, st.booleans(), TEXT, st.binary(max_size=5)])


@settings(max_examples=70, deadline=None)
@given(st.data(), st.integers(0, 6))
def test_columns_have_the_bytes_of_their_rows(data, count):
    names = data.draw(st.lists(TEXT, unique=True, max_size=4))
    columns = {}
    for name in names:
        values = data.draw(COLUMN)
        if data.draw(st.booleans()):
            values = st.lists(values, min_size=1, max_size=4)
        columns[name] = data.draw(st.lists(st.one_of(st.none(), values), min_size=count, max_size=count))
    rows = [{name: column[index] for name, column in columns.items()} for index in range(count if names else 0)]
    assert serialized_examples(columns).tolist() == [built(row) for row in rows]


@pytest.mark.parametrize(
    "column",
    [
        np.arange(6, dtype="i4") - 3,
        np.arange(6, dtype="u1").reshape(3, 2),
        np.array([0, 127, 128, 1 << 62, -1, -(1 << 63)]).reshape(3, 2),
        np.arange(6, dtype=">f8"),
        np.arange(12, dtype="f2").reshape(3, 2, 2),
        np.arange(12, dtype="f4").reshape(3, 4)[:, ::2],
        np.array([True, False]),
        np.array(["a", "ä"]),
        np.array([["a", b"\0"], ["c", "d"]], object),
        np.arange(4).astype(ml_dtypes.bfloat16),
        np.arange(4).astype(ml_dtypes.int4),
    ],
    ids=lambda column: f"{column.dtype}{column.shape}",
)
def test_arrays_have_the_bytes_of_their_rows(column):
    rows = [{"x": row} for row in column]
    plain = [
        {"x": np.asarray(row).reshape(-1).tolist()}
        for row in column.astype("f4" if column.dtype.kind == "V" else column.dtype)
    ]
    if column.dtype == ml_dtypes.int4:
        plain = [{"x": [int(row)]} for row in column]
    assert serialized_examples({"x": column}).tolist() == [built(row) for row in plain]
    assert serialized_examples(rows).tolist() == [built(row) for row in plain]


def kind_of(value):
    (data,) = serialized_examples([{"x": value}])
    feature = Example.FromString(data).features.feature["x"]
    assert built({}) != data
    return feature.WhichOneof("kind")


def test_an_empty_array_has_the_kind_of_its_dtype_and_an_empty_list_none():
    assert kind_of(np.empty(0, "f4")) == "float_list"
    assert kind_of(np.empty(0, "i4")) == "int64_list"
    assert kind_of(np.empty(0, object)) == "bytes_list"
    assert kind_of([]) is None
    for empty in (np.empty((2, 0), "f4"), np.empty((2, 0), "i8"), [[], []]):
        by_columns, by_rows = serialized_examples({"x": empty}), serialized_examples([{"x": row} for row in empty])
        assert by_columns.tolist() == by_rows.tolist()
    message = Example()
    message.features.feature["x"].int64_list.SetInParent()
    assert serialized_examples([{"x": np.empty(0, "i8")}])[0] == message.SerializeToString()


def test_a_column_has_one_kind_of_numbers():
    for column in ([1, 2.5], [[1], [2.5, 3]], [None, 1, 2.5]):
        kinds = {
            Example.FromString(data).features.feature["x"].WhichOneof("kind")
            for data, value in zip(serialized_examples({"x": column}), column, strict=True)
            if value is not None
        }
        assert kinds == {"float_list"}


def test_columns_are_read_by_position():
    column = Labelled([1.0, 2.0, 3.0], labels=[2, 1, 0])
    assert serialized_examples({"x": column}).tolist() == serialized_examples({"x": [1.0, 2.0, 3.0]}).tolist()
    (data,) = serialized_examples([{"x": Labelled([7.0, 8.0], labels=["a", 0])}])
    assert list(Example.FromString(data).features.feature["x"].float_list.value) == [7.0, 8.0]


def test_rows_and_columns_may_come_from_generators():
    rows = ({"x": float(number)} for number in range(3))
    columns = {"x": (float(number) for number in range(3))}
    assert serialized_examples(rows).tolist() == serialized_examples(columns).tolist()


def test_serialized_examples_are_unchanged():
    message = Example.FromString(built({"x": 1.5}))
    found = serialized_examples([b"\x0a\x00", message, {"x": 1.5}])
    assert found.tolist() == [b"\x0a\x00", built({"x": 1.5}), built({"x": 1.5})]


# --- several examples in one string ---------------------------------------------------------------------------------


def test_a_context_makes_one_string_of_all_examples():
    found = serialized_examples([{"x": 1.0}, {"x": 2.0}], context={"query": "shoes"})
    assert (found.shape, found.dtype) == ((1,), object)
    message = ExampleListWithContext.FromString(found[0])
    assert [example.SerializeToString() for example in message.examples] == [built({"x": 1.0}), built({"x": 2.0})]
    assert message.context.SerializeToString() == built({"query": "shoes"})
    assert serialized_examples({"x": [1.0, 2.0]}, context={"query": "shoes"})[0] == found[0]
    assert serialized_examples([b"\x0a\x00"], context=message.context)[0].endswith(built({"query": "shoes"}))


def test_several_contexts_make_a_string_for_each_query():
    queries = [[{"x": 1.0}, {"x": 2.0}], [{"x": 3.0}]]
    found = serialized_examples(queries, context=[{"q": "a"}, {"q": "b"}])
    for data, rows, query in zip(found, queries, "ab", strict=True):
        assert data == serialized_examples(rows, context={"q": query})[0]


@pytest.mark.parametrize(
    ("rows", "context", "text"),
    [
        ([[{"x": 1.0}]], [{"q": 1}, {"q": 2}], "expected a context for each query, got 2 for 1"),
        ({"x": [1.0]}, [{"q": 1}], "expected a list with the examples of each query for several contexts"),
        ([{"x": [1.0, 2.0]}], [{"q": 1}], "query 0: expected a list or table of its examples, got a mapping"),
        ([[{"x": 1j}]], [{"q": 1}], "query 0: example 0: feature 'x': expected int64, float32 or bytes for an example"),
        ([{"x": 1.0}], {"q": 1j}, "context: feature 'q': expected int64, float32 or bytes"),
        ([{"x": 1.0}], 5, "context: expected a mapping from feature to value"),
        ([[{"x": 1.0}]], {"q": 1}, "example 0: expected a mapping from feature to value, or a tf.Example, got list"),
    ],
)
def test_contexts_that_do_not_fit_are_explained(rows, context, text):
    with pytest.raises(EncodeError, match=text):
        serialized_examples(rows, context=context)


# --- sequences ------------------------------------------------------------------------------------------------------


def built_sequence(lists, context=None):
    message = SequenceExample()
    message.feature_lists.SetInParent()
    for name, steps in lists.items():
        features = message.feature_lists.feature_list[name]
        features.SetInParent()
        for step in steps:
            features.feature.add().CopyFrom(Feature() if step is None else feature_of(step))
    if context is not None:
        message.context.CopyFrom(Example.FromString(built(context)).features)
    return message.SerializeToString(deterministic=True)


STEPS = st.lists(st.one_of(st.none(), st.lists(INT64, min_size=1, max_size=3)), max_size=4)
TEXTS = st.lists(TEXT, max_size=4)
SEQUENCES = st.lists(st.dictionaries(TEXT, st.one_of(STEPS, TEXTS), max_size=3), max_size=3)


@settings(max_examples=70, deadline=None)
@given(SEQUENCES, st.booleans())
def test_sequences_have_the_bytes_of_protobufs_deterministic_serialization(rows, with_context):
    contexts = [{"c": index, "a": "x"} for index in range(len(rows))] if with_context else None
    found = serialized_sequence_examples(rows, context=contexts)
    assert found.tolist() == [
        built_sequence(row, contexts[index] if contexts else None) for index, row in enumerate(rows)
    ]


def test_sequences_may_be_given_in_several_forms():
    rows = [{"clicks": [[3, 5], [7]], "page": ["home", "cart"]}, {"clicks": [[1]], "page": ["home"]}]
    contexts = [{"country": "NZ"}, {"country": "DE"}]
    found = serialized_sequence_examples(rows, context=contexts).tolist()
    assert found == [built_sequence(row, own) for row, own in zip(rows, contexts, strict=True)]
    by_columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert serialized_sequence_examples(by_columns, context={"country": ["NZ", "DE"]}).tolist() == found
    whole = [{"context": own, "feature_lists": row} for row, own in zip(rows, contexts, strict=True)]
    assert serialized_sequence_examples(whole).tolist() == found
    message = SequenceExample.FromString(found[0])
    mixed = serialized_sequence_examples([message, found[1]])
    assert (SequenceExample.FromString(mixed[0]), mixed[1]) == (message, found[1])
    (data,) = serialized_sequence_examples([{"x": Labelled([1.0, 2.0], labels=[1, 0]), "none": None}])
    assert data == built_sequence({"x": [1.0, 2.0]})
    (data,) = serialized_sequence_examples({"x": np.float32([[[1, 2], [3, 4]]])})
    assert data == built_sequence({"x": [[1.0, 2.0], [3.0, 4.0]]})


@pytest.mark.parametrize(
    ("rows", "context", "text"),
    [
        ([{"x": 5}], None, "example 0: feature 'x': expected a list of steps, got int"),
        ([{"x": "abc"}], None, "example 0: feature 'x': expected a list of steps, got str"),
        ([{"x": [1, 2j]}], None, "example 0: feature 'x': step 1: expected int64, float32 or bytes"),
        ({"x": [1, 2]}, None, "example 0: feature 'x': expected a list of steps, got int"),
        ([5], None, "example 0: expected a mapping"),
        ([{"x": [1]}], [{}, {}], "expected a context for each example, got 2 for 1"),
        ([{"x": [1]}], {"c": 5}, "feature 'c': a column has a value for each example"),
    ],
)
def test_values_that_a_sequence_cannot_hold_are_named(rows, context, text):
    with pytest.raises(EncodeError, match=text):
        serialized_sequence_examples(rows, context=context)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"x": [1.0, 1j]}, "example 1: feature 'x': expected int64, float32 or bytes for an example, got complex"),
        ({"x": [1.0, 1e39]}, "example 1: feature 'x': expected floats that fit float32 for an example"),
        ({"x": np.array([1.0, 1e39])}, "example 1: feature 'x': expected floats that fit float32 for an example"),
        ({"x": [1, 1 << 63]}, "example 1: feature 'x': expected int64, float32 or bytes for an example, got uint64"),
        ({"x": [1, 1 << 64]}, "example 1: feature 'x': expected integers of at most 64 bits"),
        ({"x": np.uint64([1, 1 << 63])}, "example 1: feature 'x': .* got uint64"),
        ({"x": ["a", "\ud800"]}, "example 1: feature 'x': expected text that UTF-8 can encode"),
        ({"x": [[1.0], [None]]}, "example 1: feature 'x': "),
        ({"x": {1.0, 2.0}}, "feature 'x': a set has no order"),
        ({"x": {"a": 1}}, r"feature 'x': a column has a value for each example .*got dict"),
        ({"x": "abc"}, r"feature 'x': a column has a value for each example .*got str"),
        ({"x": np.array(["2020"], "M8[Y]")}, "feature 'x': expected numbers or text, got dates or times"),
        ({5: [1.0]}, "expected a feature's name of type str, got int"),
        ({"x": iter([1.0]), "y": [1.0, 2.0]}, "expected columns of one length, got {'x': 1, 'y': 2}"),
    ],
)
def test_columns_that_an_example_cannot_hold_are_named(columns, text):
    with pytest.raises(EncodeError, match=text):
        serialized_examples(columns)


def test_dates_are_refused_with_an_alternative():
    with pytest.raises(
        EncodeError, match=r"example 0: feature 'x': expected numbers or text, got dates .*astype\(str\)"
    ):
        serialized_examples([{"x": np.datetime64("2020-01-01")}])


@given(st.one_of(FLOAT32, st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_are_rounded_to_the_nearest_float32_or_refused(value):
    with np.errstate(over="ignore"):
        wanted = np.float32(value)
    if np.isinf(wanted) and not math.isinf(value):
        for examples in ([{"x": value}], [{"x": [value]}], {"x": [value]}):
            with pytest.raises(EncodeError, match="expected floats that fit float32 for an example"):
                serialized_examples(examples)
        return
    for examples in ([{"x": value}], [{"x": [value]}], {"x": [value]}, {"x": np.array([value])}):
        (data,) = serialized_examples(examples)
        (found,) = Example.FromString(data).features.feature["x"].float_list.value
        assert np.float32(found).tobytes() == wanted.tobytes() or np.isnan(wanted)


# --- messages as strings --------------------------------------------------------------------------------------------


def test_messages_are_accepted_as_strings():
    message = Example.FromString(built({"x": 1.5}))
    data = message.SerializeToString()
    array = np.empty(2, object)
    array[:] = [message, "text"]
    for values, wanted in (
        ([message, message], [data, data]),
        ([[message], [b"bytes"]], [[data], [b"bytes"]]),
        (message, data),
        (array, [data, "text"]),
    ):
        assert as_array(values).tolist() == wanted
        assert as_array(values, "string").tolist() == wanted
    assert array[0] is message, "the caller's own array stays as it was"


def test_a_tensor_proto_is_not_accepted_as_a_string():
    with pytest.raises(EncodeError, match=r"got a TensorProto; tfs_client\.make_ndarray reads it as an array"):
        as_array([TensorProto()])


def test_mappings_are_refused_as_strings_and_the_error_names_the_serializer():
    for values in ([{"miles": 1.5}], {"miles": [1.5]}):
        with pytest.raises(EncodeError, match=r"got dict.*serialized_examples makes tf\.Examples from mappings"):
            as_array(values)


def test_the_calls_and_the_function_share_one_codec():
    assert serialized_examples([{"b": 1, "a": 2.0}])[0] == codec.write({"a": 2.0, "b": 1})


def test_bytearrays_and_memoryviews_are_bytes_among_features():
    for value in (bytearray(b"xy"), memoryview(b"xy")):
        assert list(serialized_examples([{"a": value}])) == list(serialized_examples([{"a": b"xy"}]))
        assert list(serialized_examples([{"a": [value, b"z"]}])) == list(serialized_examples([{"a": [b"xy", b"z"]}]))


def test_lists_in_pieces_are_merged_until_the_kind_changes():
    def listed(kind, *examples):
        return wire.delimited(kind, b"".join(wire.delimited(1, example) for example in examples))

    one, two, three = (codec.write({"x": value}) for value in (1, 2, 3))
    assert codec.read_input(listed(1, one) + listed(1, two, three)) == [one, two, three]
    assert codec.read_input(listed(1, one) + listed(2, two)) == [two]
    assert codec.read_input(listed(2, one) + listed(1, two) + listed(1, three)) == [two, three]
