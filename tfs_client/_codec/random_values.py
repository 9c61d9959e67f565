"""Random values of any dtype, for requests and answers that are not given by the user."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import STRING, Array, DType

INTEGERS = 100  # different random integers: such numbers fit any dtype, and look like counts and class numbers
WORDS = (b"alpha", b"bravo", b"charlie", b"delta", b"echo", b"foxtrot", b"golf", b"hotel")

_FEW = {"int4": 8, "uint4": 16, "int2": 2, "uint2": 4}  # the number of values from 0 on that a dtype has
_STEPS = {"half": 256, "bfloat16": 256, "float4_e2m1fn": 2}  # in [0, 1), exact in the dtype; others of one byte: 8


def random_values(rng: np.random.Generator, row: DType, shape: tuple[int, ...], integers: int = INTEGERS) -> Array:
    """Return floats in [0, 1), integers from 0 on where they fit, words, or truth values.

    Args:
        integers: random integers are below it, where the dtype has as many.

    Raises TFServingError for a dtype without numpy's counterpart.
    """
    dtype = row.dtype
    if row is STRING:
        words = np.empty(len(WORDS), object)
        words[:] = WORDS
        return np.asarray(words[rng.integers(0, len(WORDS), shape)], object)
    if dtype.fields:  # quantized: one field with integers
        (name,) = dtype.fields
        made = np.empty(shape, dtype)
        made[name] = rng.integers(0, integers, shape)
        return made
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(0, integers, shape), dtype)
    if dtype.kind == "c":
        return np.asarray(rng.random(shape) + 1j * rng.random(shape), dtype)
    if row.name in _FEW:
        return np.asarray(rng.integers(0, min(integers, _FEW[row.name]), shape)).astype(dtype)
    return _floats(rng, shape, dtype, row.name)


def _floats(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str) -> Array:
    """Return floats in [0, 1). Short dtypes get multiples of a step, because rounding could give 1."""
    if dtype.itemsize > 2:
        return np.asarray(rng.random(shape, np.float32 if dtype.itemsize == 4 else np.float64), dtype)
    steps = _STEPS.get(name, 8)
    return np.asarray(np.asarray(rng.integers(0, steps, shape), np.float32) / steps, dtype)
