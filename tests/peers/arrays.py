"""Arrays of every dtype that both libraries know."""

from __future__ import annotations

import numpy as np
import pytest

# fmt: off
DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "string",
]
# fmt: on


def values(dtype, shape):
    """An array with the same values at every call, over the whole range of integers."""
    rng = np.random.default_rng(7)
    if dtype == "string":
        array = np.empty(shape, object)
        array[...] = b"\xff text"
        return array
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.asarray(rng.integers(info.min, info.max, shape, dtype, endpoint=True))
    if dtype.kind == "c":
        return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)
