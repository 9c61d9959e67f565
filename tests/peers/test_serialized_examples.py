"""serialized_examples against TensorFlow: its builder, byte for byte, and its parser; its messages as inputs."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import PredictClient, TensorSpec, serialized_examples, serialized_sequence_examples

pytestmark = pytest.mark.peer

COUNT = 10_000
WORDS = ["", "a", "f1", "f10", "ä", "日本", "a longer one", "F"]


def random_value(rng):
    size = int(rng.integers(1, 5))
    kind = rng.integers(0, 8)
    if kind == 0:
        return float(rng.normal() * 10.0 ** rng.integers(-40, 38))
    if kind == 1:
        return int(rng.integers(-(1 << 63), (1 << 63) - 1, endpoint=True))
    if kind == 2:
        return bool(rng.integers(0, 2))
    if kind == 3:
        return WORDS[rng.integers(0, len(WORDS))]
    if kind == 4:
        return rng.bytes(size)
    if kind == 5:
        return rng.normal(size=size).astype(["f2", "f4", "f8"][rng.integers(0, 3)])
    if kind == 6:
        return rng.integers(0, 1 << int(rng.integers(1, 62)), size)
    return [WORDS[index] for index in rng.integers(0, len(WORDS), size)]


def random_rows():
    rng = np.random.default_rng(7)
    for _ in range(COUNT):
        names = [f"{WORDS[rng.integers(0, len(WORDS))]}{number or ''}" for number in range(rng.integers(0, 12))]
        yield {name: random_value(rng) for name in names}


def feature_of(tf, value):
    values = np.asarray(value, object if isinstance(value, (str, bytes, list)) else None).reshape(-1)
    if values.dtype.kind == "O":
        texts = [text.encode() if isinstance(text, str) else text for text in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))


def features_of(tf, row):
    return tf.train.Features(feature={name: feature_of(tf, value) for name, value in row.items()})


def test_ten_thousand_random_rows_equal_tensorflows_builder():
    import tensorflow as tf

    rows = list(random_rows())
    found = serialized_examples(rows)
    assert (found.shape, found.dtype) == ((COUNT,), object)
    for data, row in zip(found, rows, strict=True):
        example = tf.train.Example(features=features_of(tf, row))
        assert data == example.SerializeToString(deterministic=True)
        assert tf.train.Example.FromString(data) == example


def test_random_sequences_equal_tensorflows_builder():
    import tensorflow as tf

    rows = [row for row in random_rows() if row][:1000]
    lists = [{name: [value, value] for name, value in row.items()} for row in rows]
    found = serialized_sequence_examples(lists, context=rows)
    for data, row in zip(found, rows, strict=True):
        feature_list = {name: tf.train.FeatureList(feature=[feature_of(tf, value)] * 2) for name, value in row.items()}
        example = tf.train.SequenceExample(
            context=features_of(tf, row), feature_lists=tf.train.FeatureLists(feature_list=feature_list)
        )
        assert data == example.SerializeToString(deterministic=True)


def test_tensorflow_parses_columns_of_a_frame():
    import pandas as pd
    import tensorflow as tf

    frame = pd.DataFrame(
        {
            "miles": [3.0, 1.5, np.nan],
            "count": pd.Series([1, None, 3], dtype="Int64"),
            "city": ["x", None, "z"],
            "embedding": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        },
    ).sort_values("miles")
    specs = {
        "miles": tf.io.FixedLenFeature([], tf.float32),
        "count": tf.io.FixedLenFeature([], tf.int64, -1),
        "city": tf.io.FixedLenFeature([], tf.string, "?"),
        "embedding": tf.io.FixedLenFeature([2], tf.float32),
    }
    parsed = tf.io.parse_example(serialized_examples(frame).astype(object), specs)
    assert parsed["miles"].numpy().tolist()[:2] == [1.5, 3.0]
    assert np.isnan(parsed["miles"].numpy()[2])
    assert parsed["count"].numpy().tolist() == [-1, 1, 3]
    assert parsed["city"].numpy().tolist() == [b"?", b"x", b"z"]
    assert parsed["embedding"].numpy().tolist() == [[3.0, 4.0], [1.0, 2.0], [5.0, 6.0]]


def test_tensorflow_parses_sequences():
    import tensorflow as tf

    found = serialized_sequence_examples(
        [{"clicks": [[3, 5], [], [7]]}, {"clicks": []}], context=[{"c": "NZ"}, {"c": "DE"}]
    )
    context, lists, _ = tf.io.parse_sequence_example(
        found,
        context_features={"c": tf.io.FixedLenFeature([], tf.string)},
        sequence_features={"clicks": tf.io.RaggedFeature(tf.int64)},
    )
    assert context["c"].numpy().tolist() == [b"NZ", b"DE"]
    assert lists["clicks"].to_list() == [[[3, 5], [], [7]], []]


def test_tensorflows_messages_are_accepted_for_string_inputs(fake_server):
    import tensorflow as tf

    def miles(examples):
        read = [tf.train.Example.FromString(example) for example in examples]
        return np.array([example.features.feature["miles"].float_list.value[0] for example in read], np.float32)

    fake_server.add_model(
        "taxi",
        miles,
        inputs={"examples": TensorSpec("string", (None,))},
        outputs={"y": TensorSpec("float32", (None,))},
    )
    example = tf.train.Example(features=features_of(tf, {"miles": 1.5}))
    for target in (fake_server.target, fake_server.rest_url):
        with PredictClient(target, model="taxi", timeout=20) as client:
            assert client.predict({"examples": [example]}).array.tolist() == [1.5]
            assert client.predict([example]).array.tolist() == [1.5]
