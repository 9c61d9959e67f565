"""Outputs that are one vector for each picture."""

from __future__ import annotations

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError
from tfs_client.images.decoders import Outputs
from tfs_client.signatures import Shape, TensorSpec

FLOATS = ("float", "double", "half", "bfloat16")


def is_vector(shape: Shape | None) -> bool:
    """Return whether a shape has values along one axis at most; further axes of size 1 may surround it."""
    return bool(shape) and sum(size != 1 for size in shape or ()) <= 1


def length(spec: TensorSpec) -> int | None:
    """Return the number of values of a vector; None if it is unknown."""
    return next((size for size in spec.shape or () if size != 1), 1)


def vector(outputs: Outputs, alias: str) -> Array:
    """Return an output as an array of one axis. Raises DecodeError if it is not a vector, empty, or overstated."""
    array = outputs.get(alias)
    if array is None:
        raise DecodeError(f"expected the output {alias!r}, got none")
    if not is_vector(array.shape) or not array.size:
        raise DecodeError(f"expected a vector in output {alias!r}, got shape {shown(array.shape)}")
    expansion.check_copy(array, f"output {alias!r}")
    return array.reshape(-1)


def floats(array: Array) -> Array:
    """Return numbers as float32, or as float64 if they are; numpy cannot sort or sum bfloat16 exactly."""
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
