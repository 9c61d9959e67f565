"""Merging: the inputs of a batch's tasks become one call's, and its outputs are cut back.

Source of checks and texts: batching/batching_session.cc (MergeInputTensors, SplitOutputTensors).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from tfs_client.codec.dtypes import STRING, row_of
from tfs_client.errors import FailedPreconditionError, InternalError, ResourceExhaustedError
from tfs_client.server.batching.padding import Shape, largest, padded
from tfs_client.server.servable import Array

MOST_BYTES = (1 << 31) - 1  # of the inputs of a batch that was padded: as many as the largest message can bring
MOST_PADDED = 1 << 30  # of those before rows are added; more only where the inputs themselves have an eighth of it
GROWTH = 8


def merge(batch: Sequence[Mapping[str, Array]], extra: int, *, pad: bool) -> dict[str, Array]:
    """The inputs of all tasks one after the other, then ``extra`` copies of the last task's first row.

    Args:
        batch: for each task its inputs by tensor name; all have the same names, and at least one row.
        pad: make axes other than the first as long as the longest in the batch; without it they must agree.

    Raises CallError, which is every task's.
    """
    longest = largest(batch) if pad else {}
    if pad or extra:
        _check_memory(batch, extra, longest)
    columns: dict[str, list[Array]] = {name: [] for name in batch[0]}
    for inputs in batch:
        for name, array in inputs.items():
            column = columns[name]
            if pad:
                array = padded(array, longest[name])
            elif column and array.shape[1:] != column[0].shape[1:]:
                raise FailedPreconditionError(
                    f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                    "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                    "dimensions starting with the first dim."
                )
            column.append(array)
    if extra:
        for column in columns.values():
            # A row of a task is sure to be a valid input, which zeros are not.
            column.append(np.repeat(column[-1][:1], extra, axis=0))
    return {name: concatenated(column) for name, column in columns.items()}


def _check_memory(batch: Sequence[Mapping[str, Array]], extra: int, longest: Mapping[str, Shape]) -> None:
    """Refuse a batch that padding would blow up: a few bytes may declare very long axes, each task along another."""
    came = padded_size = needed = 0
    for name, first in batch[0].items():
        rows = sum(len(inputs[name]) for inputs in batch)
        row = math.prod(longest.get(name, first.shape)[1:]) * first.itemsize
        came += sum(inputs[name].nbytes for inputs in batch)
        padded_size += rows * row
        needed += (rows + extra) * row
    if needed > MOST_BYTES or padded_size > max(MOST_PADDED, GROWTH * came):
        raise ResourceExhaustedError(
            f"Padding would make a batch of {needed} bytes: expected at most {MOST_BYTES}, and for longer axes "
            f"{MOST_PADDED} or {GROWTH} times the inputs; send inputs whose lengths differ along one axis"
        )


def concatenated(arrays: Sequence[Array]) -> Array:
    """The arrays along the first axis; one alone is itself. Raises InternalError when they do not fit together."""
    if len(arrays) == 1:
        return arrays[0]
    dtype = arrays[0].dtype
    row = row_of(dtype)
    for array in arrays:
        if array.dtype is not dtype and (other := row_of(array.dtype)) is not row:
            raise InternalError(
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different "
                f"data types. Got {row.name} and {other.name}."
            )
    if row is STRING:  # numpy would decode bytes that meet text
        arrays = [array.astype(object, copy=False) for array in arrays]
    try:
        return np.concatenate(arrays)
    except (ValueError, MemoryError) as error:
        raise InternalError(f"Tensor concat operation failed: {error}") from error


def cut(outputs: Mapping[str, Array], sizes: Sequence[int], extra: int) -> list[dict[str, Array]]:
    """The outputs of every task, as views; those of the ``extra`` rows at the end are dropped.

    Raises FailedPreconditionError, which is every task's, for outputs that do not have a row for every row.
    """
    rows = sum(sizes) + extra
    for array in outputs.values():
        if array.ndim == 0:
            raise FailedPreconditionError("Batched output tensor has 0 dimensions")
        if len(array) != rows:
            raise FailedPreconditionError(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors"
            )
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for size, end in zip(sizes, accumulate(sizes), strict=True)
    ]
