"""Rows and examples: inputs are split and outputs joined without needless copies."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.values import Untyped
from tfs_client._flows.batching.example_rows import split_prediction
from tfs_client._flows.batching.rows import JoinedOutputs, Rows
from tfs_client.errors import SignatureError
from tfs_client.results import Prediction


def prediction(version=1, **outputs):
    answered = ModelSpec("m", version, None, "s")
    return Prediction(outputs, answered=answered, asked=ModelSpec("m"), clock=(1.0, 1.1, 1.5, 1.7))


def parts_of(count, sizes):
    """Ranges over ``count`` rows, with the sizes in turn."""
    start = 0
    while start < count:
        stop = min(count, start + sizes[start % len(sizes)])
        yield range(start, stop)
        start = stop


@given(st.integers(1, 60), st.lists(st.integers(1, 20), min_size=1), st.randoms(use_true_random=False))
def test_parts_in_any_order_are_joined_in_order(count, sizes, chance):
    x = np.arange(3 * count).reshape(count, 3)
    strings = np.array([b"%d" % number for number in range(count)] + [None], object)[:-1]
    rows, result = Rows({"x": x, "s": strings}, {"k": 7}), JoinedOutputs(count)
    parts = list(parts_of(count, sizes))
    chance.shuffle(parts)
    for part in parts:
        inputs = rows.part(part)
        assert inputs["k"].array == 7
        result.put(part, prediction(x=inputs["x"], s=inputs["s"]))
    whole = result.prediction(1.0)
    assert whole["x"].tolist() == x.tolist()
    assert whole["s"].tolist() == strings.tolist()


def test_parts_are_views():
    x = np.arange(12.0)
    assert np.shares_memory(Rows({"x": x}, None).part(range(3, 6))["x"], x)
    assert np.shares_memory(Rows(x, None).part(range(3, 6)), x)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("values", [[1, 2, 3], (1, 2, 3), range(1, 4)])
def test_python_numbers_stay_untyped_until_the_signature_is_known(values, own):
    bare = Rows(values, None, own=own).part(range(1, 3))
    named = Rows({"x": values}, {"k": 7}, own=own).part(range(1, 3))
    for part in (bare, named["x"], named["k"]):
        assert isinstance(part, Untyped)
    assert bare.array.tolist() == named["x"].array.tolist() == [2, 3]


@pytest.mark.parametrize("value", [np.arange(4.0), memoryview(bytearray(b"abcd")), np.array(["a", "b"], object)])
def test_owned_rows_share_no_memory_with_the_callers(value):
    x = np.asarray(value)
    for inputs in ({"x": value}, value):
        rows = Rows(inputs, {"k": x} if isinstance(inputs, dict) else None, own=True)
        part = rows.part(range(rows.count))
        found = [part["x"], part["k"]] if isinstance(part, dict) else [part]
        assert not any(np.shares_memory(x, getattr(one, "array", one)) for one in found)


def test_a_reply_is_released_once_its_rows_are_in_the_result():
    result = JoinedOutputs(4)
    reply = np.arange(2.0)
    gone = weakref.ref(reply)
    result.put(range(2), prediction(y=reply))
    del reply
    gc.collect()
    assert gone() is None


def test_a_result_of_one_part_is_the_reply_itself():
    whole = prediction(y=np.arange(4.0))
    result = JoinedOutputs(4)
    result.put(range(4), whole)
    assert result.prediction(1.0) is whole


@pytest.mark.parametrize("versions", [[1, 2, 1], [1, 1, 2], [1, 2, 3]])
def test_no_version_is_named_if_parts_have_several(versions):
    result = JoinedOutputs(3)
    for row, version in enumerate(versions):
        result.put(range(row, row + 1), prediction(version, y=np.zeros(1)))
    whole = result.prediction(1.0)
    assert (whole.model.name, whole.model.version, whole.model.signature) == ("m", None, "s")


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ({"z": np.zeros(1)}, "expected the outputs y in every part, got z for rows 1 to 1"),
        ({"y": np.zeros((1, 2))}, "output 'y' differs between the parts"),
        ({"y": np.zeros(1, np.float32)}, "output 'y' differs between the parts.*got float32"),
        ({"y": np.zeros(2)}, "expected length 1 along axis 0"),
        ({"y": np.float64(0)}, "expected length 1 along axis 0"),
    ],
)
def test_parts_that_do_not_fit_together_are_explained(second, text):
    result = JoinedOutputs(2)
    result.put(range(1), prediction(y=np.zeros(1)))
    with pytest.raises(SignatureError, match=text):
        result.put(range(1, 2), prediction(**second))


def test_predictions_are_split_into_read_only_arrays():
    rows = prediction(y=np.arange(3.0), z=np.arange(6).reshape(3, 2), s=np.array([b"a", b"b", b"c"], object))
    for array in rows.values():
        array.flags.writeable = False
    parts = split_prediction(rows, [4, 7, None])
    assert [part.example for part in parts] == [4, 7, None]
    assert [part["y"].shape for part in parts] == [()] * 3
    assert [part["z"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [part["s"].item() for part in parts] == [b"a", b"b", b"c"]
    assert all(isinstance(array, np.ndarray) and not array.flags.writeable for part in parts for array in part.values())
