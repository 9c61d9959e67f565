"""Merging, padding and splitting: many tasks as one call, and the part of its answer for each."""

from __future__ import annotations

import math
import time

import ml_dtypes
import numpy as np
import pytest

from tfs_client._codec.dtypes import find
from tfs_client.errors import (
    CallError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from tfs_client.server.batching import BatchingParameters
from tfs_client.server.batching.execution import BatchRun, answer, observe, results
from tfs_client.server.batching.merging import concatenated, cut, merge
from tfs_client.server.batching.tasks import Task
from tfs_client.server.call_deadlines import deadline


def x(*arrays):
    return [{"x": array} for array in arrays]


def text(*values):
    return np.array(values, object)


def test_rows_are_merged_in_the_order_of_the_tasks():
    batch = [{"a": np.float32([1]), "s": text(b"p")}, {"s": text(b"q", b"r"), "a": np.float32([2, 3])}]
    merged = merge(batch, 0, pad=False)
    assert merged["a"].tolist() == [1, 2, 3]
    assert merged["s"].tolist() == [b"p", b"q", b"r"]
    assert merged["a"].dtype == np.float32


def test_a_single_task_is_not_copied():
    array = np.arange(3)
    assert merge(x(array), 0, pad=False)["x"] is array


def test_padding_rows_are_copies_of_the_last_tasks_first_row():
    merged = merge(x(np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]])), 2, pad=False)
    assert merged["x"].tolist() == [[1, 2], [3, 4], [5, 6], [3, 4], [3, 4]]


@pytest.mark.parametrize("other", [np.zeros((1, 3)), np.zeros((1, 2, 1)), np.zeros(1), np.zeros((1, 0))])
def test_other_shapes_are_refused_when_padding_is_off(other):
    with pytest.raises(FailedPreconditionError) as caught:
        merge(x(np.zeros((1, 2)), other), 0, pad=False)
    assert caught.value.details == (
        "Tensors with name 'x' from different tasks have different shapes and padding is turned off. Set "
        "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
        "starting with the first dim."
    )


@pytest.mark.parametrize("pad", [False, True])
def test_mixed_dtypes_do_not_concatenate(pad):
    with pytest.raises(InternalError) as caught:
        merge(x(np.float32([1]), np.int32([1])), 0, pad=pad)
    assert caught.value.details == (
        "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different data types. "
        "Got float and int32."
    )


def test_mixed_ranks_do_not_concatenate_when_padding_is_on():
    with pytest.raises(InternalError, match="INTERNAL: Tensor concat operation failed: "):
        merge(x(np.zeros((1, 2)), np.zeros((1, 2, 1))), 0, pad=True)


def test_bytes_and_text_of_any_kind_keep_their_values():
    merged = concatenated([text(b"a\x00", "ä"), np.array([b"\xff"]), np.array(["ö"])])
    assert merged.tolist() == [b"a\x00", "ä", b"\xff", "ö"]


def test_byte_order_does_not_matter():
    merged = concatenated([np.array([1, 2], ">i4"), np.array([3], "<i4")])
    assert merged.tolist() == [1, 2, 3]


def test_padding_fills_the_end_of_inner_axes_with_the_tensors_own_first_element():
    merged = merge(x(np.int32([[[1, 2]]]), np.int32([[[3], [4]], [[5], [6]]])), 1, pad=True)["x"]
    assert merged.tolist() == [
        [[1, 2], [1, 1]],
        [[3, 3], [4, 3]],
        [[5, 3], [6, 3]],
        [[3, 3], [4, 3]],
    ]


PADDABLE = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 half float double complex64 complex128 bfloat16"


@pytest.mark.parametrize("name", [*PADDABLE.split(), "qint8", "quint8", "qint16", "quint16", "qint32", "string"])
def test_dtypes_that_can_be_padded(name):
    dtype = find(name).dtype
    short, long = np.zeros((1, 1), dtype), np.zeros((1, 2), dtype)
    if name == "string":
        short[:], long[:] = b"s", b"l"
        assert merge(x(short, long), 0, pad=True)["x"].tolist() == [[b"s", b"s"], [b"l", b"l"]]
    assert merge(x(short, long), 0, pad=True)["x"].dtype == dtype


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "int4", "uint4"])
def test_dtypes_that_cannot_be_padded(name):
    array = np.zeros((1, 1), getattr(ml_dtypes, name))
    with pytest.raises(InvalidArgumentError) as caught:
        merge(x(array), 0, pad=True)  # as in Serving, also when there is nothing to pad
    assert caught.value.details == "Unsupported type"
    assert merge(x(array, array), 0, pad=False)["x"].shape == (2, 1)


def test_only_six_axes_can_be_padded():
    with pytest.raises(InvalidArgumentError) as caught:
        merge(x(np.zeros((1,) * 7)), 0, pad=True)
    assert caught.value.details == "Only tensors with rank from 1 to 6 can be padded."
    assert merge(x(np.zeros((1,) * 6), np.zeros((1, 1, 1, 1, 1, 2))), 0, pad=True)["x"].shape == (2, 1, 1, 1, 1, 2)


def test_an_empty_tensor_cannot_be_padded():
    with pytest.raises(InvalidArgumentError) as caught:
        merge(x(np.zeros((1, 0)), np.zeros((1, 2))), 0, pad=True)
    assert caught.value.details == "Got empty tensor in batch of non-empty tensors."
    assert merge(x(np.zeros((1, 0, 2)), np.zeros((1, 0, 3))), 0, pad=True)["x"].shape == (2, 0, 3)


def test_outputs_are_split_in_order_and_padding_rows_are_dropped():
    pieces = cut({"y": np.arange(6), "z": np.arange(12).reshape(6, 2)}, [2, 1, 2], 1)
    assert [piece["y"].tolist() for piece in pieces] == [[0, 1], [2], [3, 4]]
    assert [piece["z"].shape for piece in pieces] == [(2, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (np.array(1.0), "Batched output tensor has 0 dimensions"),
        (
            np.zeros(3),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors",
        ),
    ],
)
def test_outputs_need_a_row_for_every_row(output, text):
    with pytest.raises(FailedPreconditionError) as caught:
        cut({"y": output}, [1, 1], 2)
    assert caught.value.details == text


def task(*values, deadline=math.inf):
    return Task({"x": np.float32(values)}, len(values), 0.0, deadline)


def double(tensors):
    return {"y": 2 * tensors["x"]}


def test_a_batch_runs_as_long_as_one_of_its_tasks_has_time():
    late, early = task(1, deadline=5.0), task(2, deadline=9.0)
    found = results([late, early], double, BatchingParameters(), now=8.9)
    assert [outputs["y"].tolist() for outputs in found] == [[2], [4]]


@pytest.mark.parametrize("now", [9.0, 100.0])
def test_a_batch_whose_tasks_are_all_late_does_not_run(now):
    with pytest.raises(ResourceExhaustedError) as caught:
        results([task(1, deadline=5.0), task(2, deadline=9.0)], None, BatchingParameters(), now)
    assert caught.value.details == "Run() timeout exceeded while waiting in batching queue"


def test_the_models_time_limit_is_that_of_the_latest_deadline():
    seen = []

    def model(tensors):
        seen.append(deadline())
        return double(tensors)

    results([task(1, deadline=50.0), task(2, deadline=70.0)], model, BatchingParameters(), now=10.0)
    assert deadline() is None
    assert 50 < seen[0] - time.monotonic() <= 60


def test_the_model_sees_an_allowed_number_of_rows():
    seen = []

    def model(tensors):
        seen.append(tensors["x"].tolist())
        return double(tensors)

    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=[4, 8])
    found = results([task(1, 2), task(3)], model, parameters, now=0.0)
    assert seen == [[1, 2, 3, 3]]
    assert [outputs["y"].tolist() for outputs in found] == [[2, 4], [6]]


def refusals(tasks, model):
    answer(tasks, model, BatchingParameters(), 0.0)
    return [task.answer.get_nowait() for task in tasks]


def test_every_task_gets_its_own_copy_of_a_models_error():
    def model(tensors):
        raise CallError(InvalidArgumentError.CODE, "the op's text", hint="the hint")

    errors = refusals([task(1), task(2)], model)
    assert [(type(error), error.details, error.hint) for error in errors] == [
        (InvalidArgumentError, "the op's text", "the hint")
    ] * 2
    assert errors[0] is not errors[1]


def test_other_exceptions_of_a_model_are_internal():
    def model(tensors):
        raise SystemExit("bye")

    assert [error.details for error in refusals([task(1), task(2)], model)] == ["SystemExit: bye"] * 2
    missing = refusals([task(1)], lambda tensors: {"y": None})[0]
    assert missing.code is InternalError.CODE


def test_an_observer_gets_sizes_and_waiting_times_and_its_errors_are_only_logged(caplog):
    parameters, seen = BatchingParameters(max_batch_size=4, allowed_batch_sizes=[4]), []
    observe(seen.append, [task(1, 2), task(3)], parameters, 7.5)
    observe(seen.append, [task(1, deadline=7.0)], parameters, 7.5)
    assert seen == [BatchRun((2, 1), 4, (7.5, 7.5), 1), BatchRun((1,), 0, (7.5,), 1)]
    observe(lambda run: 1 / 0, [task(1)], parameters, 0.0)
    assert "the observer failed" in caplog.text


def test_padding_makes_no_batch_larger_than_a_message_can_be():
    """A few bytes can declare axes of any length: padded together, the two inputs would take terabytes."""
    wide, long = ({"x": np.broadcast_to(np.float32(1), shape)} for shape in [(1, 1, 10**6), (1, 10**6, 1)])
    with pytest.raises(ResourceExhaustedError, match="Padding would make a batch of 8000000000000 bytes"):
        merge([wide, long], 0, pad=True)
    with pytest.raises(ResourceExhaustedError, match="Padding would make a batch of 4000000000 bytes"):
        merge([{"x": np.ones(1, np.float32)}], 10**9 - 1, pad=False)
