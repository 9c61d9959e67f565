"""Cast arrays to another dtype if every value survives the cast.

Integers survive if they are in range and exact; floats survive as integers if they are whole, and as narrower floats
if they do not become infinite or NaN, even though they may lose digits. Bools, strings and complex numbers never change
their kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client._codec.dtypes import STRING, Array, DType, row_of
from tfs_client.errors import EncodeError

_KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex", "O": "string"}
_TO = {("integer", "integer"), ("integer", "float"), ("float", "integer"), ("float", "float")}
_TO |= {("integer", "complex"), ("float", "complex"), ("complex", "complex")}


def surviving_cast(array: Array, row: DType) -> Array:
    """Return the array in the dtype of ``row``; the same array if it already has that dtype.

    Raises EncodeError, which names the first value that would not survive, or the incompatible kinds; TFServingError
    for a dtype that numpy does not have.
    """
    own = row_of(array.dtype)
    if own is row:
        return array
    source, target = _kind(own), _kind(row)
    if (source, target) not in _TO:
        raise EncodeError(f"a cast from {own.readable} to {row.readable} would change the kind of the values")
    plain = array if array.dtype.fields is None else array.view(_base(own))
    base = _base(row)
    with np.errstate(all="ignore"):  # values that do not fit are detected below
        cast = plain.astype(base)
        survives = _survives(plain, cast, source, target)
    if not survives.all():
        at = tuple(map(int, np.unravel_index(int(np.argmin(survives)), array.shape)))
        where = f" at {list(at)}" if at else ""
        raise EncodeError(f"{plain[at].item()!r}{where} cannot be cast to {base.name} without loss")
    return cast.view(row.dtype) if row.dtype.fields is not None else cast


def survives(array: Array, row: DType) -> bool:
    """Return whether ``surviving_cast`` succeeds."""
    try:
        surviving_cast(array, row)
    except Exception:  # numpy lacks the dtype, or the values do not fit
        return False
    return True


def _base(row: DType) -> np.dtype[np.generic]:
    """Return the dtype of the numbers, which quantized types have inside a structure."""
    dtype: np.dtype[np.generic] = row.dtype
    return dtype if dtype.fields is None else np.dtype(dtype.fields[row.name][0])


def _kind(row: DType) -> str:
    if row is STRING:
        return "string"
    kind = _base(row).kind
    if kind == "V" or row.extra:  # ml_dtypes: some versions report "V", others the kind of the numbers
        return "integer" if row.name.startswith(("int", "uint")) else "float"
    return _KINDS.get(kind, kind)


def _survives(array: Array, cast: Array, source: str, target: str) -> Any:
    """Return for every value whether it survived."""
    if target == "integer":
        low, high = _limits(cast.dtype)
        if source == "integer":
            own_low, own_high = _limits(array.dtype)
            wide = array.astype(np.int64) if array.dtype.itemsize < 8 else array  # int4 does not support comparisons
            return (wide >= max(low, own_low)) & (wide <= min(high, own_high))
        wide = array.astype(np.float64)
        return (wide >= float(low)) & (wide < float(high + 1)) & (np.trunc(wide) == wide)
    if source == "integer":
        return _exact(array, cast.real if target == "complex" else cast)
    same_nan = np.isnan(cast) == np.isnan(array)
    return same_nan & (np.isinf(cast) == np.isinf(array))


def _exact(array: Array, cast: Array) -> Any:
    """Return for every integer whether it kept its value as a float."""
    wide = cast.astype(np.float64)  # exact: float64 includes all narrower floats
    low, high = _limits(array.dtype)
    inside = (wide >= float(low)) & (wide < float(high + 1))  # a float outside the limits was rounded up
    back = np.where(inside, wide, 0).astype(array.dtype)
    return inside & (back == array)


def _limits(dtype: np.dtype[np.generic]) -> tuple[int, int]:
    if dtype.kind in "iu":
        info: Any = np.iinfo(dtype)
    else:
        import ml_dtypes

        iinfo: Any = ml_dtypes.iinfo
        info = iinfo(dtype)
    return int(info.min), int(info.max)
