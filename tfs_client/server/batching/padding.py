"""Padding of inputs of variable length, with TensorFlow Serving's rules (batching/batching_util.cc).

A tensor grows at the end of its axes other than the first, filled with its own first element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfs_client.codec.dtypes import row_of
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.servable import Array

Shape = tuple[int, ...]


def largest(batch: Sequence[Mapping[str, Array]]) -> dict[str, Shape]:
    """For every tensor name the size of each axis in the task where it is largest.

    A tensor with another rank than the first task's is left out: it cannot be merged anyway.
    """
    ranks = {name: array.ndim for name, array in batch[0].items()}
    return {
        name: tuple(map(max, zip(*(inputs[name].shape for inputs in batch if inputs[name].ndim == rank), strict=True)))
        for name, rank in ranks.items()
    }


def padded(array: Array, longest: Shape) -> Array:
    """The array with all axes but the first as long as in ``longest``. Raises InvalidArgumentError where Serving does.

    The checks come first: they hold for arrays too that need no padding.
    """
    row = row_of(array.dtype)
    if row.extra and row.name != "bfloat16":  # the types of less than 16 bits that ml_dtypes adds
        raise InvalidArgumentError("Unsupported type")
    if not 1 <= array.ndim <= 6:
        raise InvalidArgumentError("Only tensors with rank from 1 to 6 can be padded.")
    if array.ndim != len(longest):
        return array
    shape = (len(array), *longest[1:])
    if math.prod(shape) == array.size:  # the shape may still be another one, when both are empty
        return array.reshape(shape)
    if not array.size:
        raise InvalidArgumentError("Got empty tensor in batch of non-empty tensors.")
    grown = np.empty(shape, array.dtype)
    grown[...] = array[(0,) * array.ndim]
    grown[tuple(map(slice, array.shape))] = array
    return grown
