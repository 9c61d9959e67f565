"""Merging of the inputs of a batch's tasks, and splitting of its outputs.

Merging appends the rows of all tasks, in the order of the tasks, then rows to reach an allowed batch size. The outputs
have the same rows in the same order, so each task's part is found by counting. Splitting makes views, not copies; the
rows at the end are dropped.

The size of a padded batch is not bounded by the sizes of the requests: two requests of a few bytes may declare long
axes, each along another one, and padding multiplies the two. So the memory is computed and checked before any array is
made.

Source of checks and texts: batching/batching_session.cc (MergeInputTensors, SplitOutputTensors).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client.errors import FailedPreconditionError, InternalError, ResourceExhaustedError
from tfs_client.server.batching.padding import Shape, largest, padded

MAX_BYTES = (1 << 31) - 1  # of a padded batch's inputs: the size of the largest message
MAX_PADDED = 1 << 30  # bytes of those inputs before rows are added, unless ...
MAX_GROWTH = 8  # ... padding makes them at most this many times as large


def merge(batch: Sequence[Mapping[str, Array]], extra: int, *, pad: bool) -> dict[str, Array]:
    """Merge the inputs of all tasks, and append ``extra`` copies of the last task's first row.

    Args:
        batch: for each task its inputs by tensor name; all have the same names, and at least one row.
        pad: make axes other than the first as long as the longest in the batch; otherwise they must be equal.

    Raises CallError for all tasks.
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
            # A row of a task is a valid input; zeros need not be.
            column.append(np.repeat(column[-1][:1], extra, axis=0))
    return {name: concatenated(column) for name, column in columns.items()}


def _check_memory(batch: Sequence[Mapping[str, Array]], extra: int, longest: Mapping[str, Shape]) -> None:
    """Raise ResourceExhaustedError for a batch that padding would make too large."""
    came = padded_size = needed = 0
    for name, first in batch[0].items():
        rows = sum(len(inputs[name]) for inputs in batch)
        row = math.prod(longest.get(name, first.shape)[1:]) * first.itemsize
        came += sum(inputs[name].nbytes for inputs in batch)
        padded_size += rows * row
        needed += (rows + extra) * row
    if needed > MAX_BYTES or padded_size > max(MAX_PADDED, MAX_GROWTH * came):
        raise ResourceExhaustedError(
            f"Padding would make a batch of {needed} bytes: expected at most {MAX_BYTES}, and for longer axes "
            f"{MAX_PADDED} or {MAX_GROWTH} times the inputs; send inputs whose lengths differ along one axis only"
        )


def concatenated(arrays: Sequence[Array]) -> Array:
    """Concatenate arrays along the first axis; a single one is returned unchanged.

    Raises InternalError if their dtypes or shapes do not match.
    """
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
    if row is STRING:  # numpy would decode bytes to join them with text
        arrays = [array.astype(object, copy=False) for array in arrays]
    try:
        return np.concatenate(arrays)
    except (ValueError, MemoryError) as error:
        raise InternalError(f"Tensor concat operation failed: {error}") from error


def cut(outputs: Mapping[str, Array], sizes: Sequence[int], extra: int) -> list[dict[str, Array]]:
    """Return the outputs of every task, as views, without the ``extra`` rows at the end.

    Raises FailedPreconditionError, for all tasks, unless every output has a row for every input row.
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
