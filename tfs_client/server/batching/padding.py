"""Padding of inputs of variable length, by TensorFlow Serving's rules (batching/batching_util.cc).

A tensor is padded at the end of every axis but the first, with its own first element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfs_client._codec.dtypes import Array, row_of
from tfs_client.errors import InvalidArgumentError

Shape = tuple[int, ...]


def largest(batch: Sequence[Mapping[str, Array]]) -> dict[str, Shape]:
    """Return the largest size of each axis among all tasks, by tensor name.

    A tensor with another rank than in the first task is ignored: it cannot be merged anyway.
    """
    ranks = {name: array.ndim for name, array in batch[0].items()}
    return {
        name: tuple(map(max, zip(*(inputs[name].shape for inputs in batch if inputs[name].ndim == rank), strict=True)))
        for name, rank in ranks.items()
    }


def padded(array: Array, longest: Shape) -> Array:
    """Pad all axes but the first to the sizes in ``longest``.

    Raises InvalidArgumentError as TensorFlow Serving does, which also checks arrays that need no padding.
    """
    row = row_of(array.dtype)
    if row.extra and row.name != "bfloat16":  # the types of less than 16 bits that ml_dtypes adds
        raise InvalidArgumentError("Unsupported type")
    if not 1 <= array.ndim <= 6:
        raise InvalidArgumentError("Only tensors with rank from 1 to 6 can be padded.")
    if array.ndim != len(longest):
        return array
    shape = (len(array), *longest[1:])
    if math.prod(shape) == array.size:  # two empty arrays may still differ in shape
        return array.reshape(shape)
    if not array.size:
        raise InvalidArgumentError("Got empty tensor in batch of non-empty tensors.")
    grown = np.empty(shape, array.dtype)
    grown[...] = array[(0,) * array.ndim]
    grown[tuple(map(slice, array.shape))] = array
    return grown
