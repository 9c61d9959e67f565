"""Arrays cast to another dtype, where every value survives the cast.

What survives: integers that are in range and exact; whole floats as integers; floats as narrower floats, which may lose
digits but must not become infinite or NaN. Bools, strings and complex numbers never change their kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client.codec.dtypes import STRING, DType, row_of
from tfs_client.errors import EncodeError

Array = np.ndarray[Any, Any]

_KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex", "O": "string"}
_TO = {("integer", "integer"), ("integer", "float"), ("float", "integer"), ("float", "float")}
_TO |= {("integer", "complex"), ("float", "complex"), ("complex", "complex")}


def surviving_cast(array: Array, row: DType) -> Array:
    """The array in the dtype of ``row``; itself where it has that dtype.

    Raises EncodeError, which names the first value that would not survive, or the kinds that do not go together;
    TFServingError for a dtype that numpy does not have.
    """
    own = row_of(array.dtype)
    if own is row:
        return array
    source, target = _kind(own), _kind(row)
    if (source, target) not in _TO:
        raise EncodeError(f"a cast from {own.name} to {row.name} would change the kind of the values")
    plain = array if array.dtype.fields is None else array.view(_base(own))
    base = _base(row)
    with np.errstate(all="ignore"):  # what the cast does to values that do not fit is looked at below
        cast = plain.astype(base)
        survives = _survives(plain, cast, source, target)
    if not survives.all():
        at = tuple(map(int, np.unravel_index(int(np.argmin(survives)), array.shape)))
        where = f" at {list(at)}" if at else ""
        raise EncodeError(f"{plain[at].item()!r}{where} cannot be cast to {base.name} without loss")
    return cast.view(row.dtype) if row.dtype.fields is not None else cast


def survives(array: Array, row: DType) -> bool:
    """Whether ``surviving_cast`` would give an array."""
    try:
        surviving_cast(array, row)
    except Exception:  # numpy lacks the dtype, or the values do not fit
        return False
    return True


def _base(row: DType) -> np.dtype[Any]:
    """The dtype of the numbers; those of quantized types stand in a structure."""
    dtype: np.dtype[Any] = row.dtype
    return dtype if dtype.fields is None else np.dtype(dtype.fields[row.name][0])


def _kind(row: DType) -> str:
    if row is STRING:
        return "string"
    kind = _base(row).kind
    if kind == "V" or row.extra:  # ml_dtypes: some versions of it say "V", others what numpy would
        return "integer" if row.name.startswith(("int", "uint")) else "float"
    return _KINDS.get(kind, kind)


def _survives(array: Array, cast: Array, source: str, target: str) -> Any:
    """For every value whether it survived."""
    if target == "integer":
        low, high = _limits(cast.dtype)
        if source == "integer":
            own_low, own_high = _limits(array.dtype)
            wide = array.astype(np.int64) if array.dtype.itemsize < 8 else array  # int4 compares with nothing
            return (wide >= max(low, own_low)) & (wide <= min(high, own_high))
        wide = array.astype(np.float64)
        return (wide >= float(low)) & (wide < float(high + 1)) & (np.trunc(wide) == wide)
    if source == "integer":
        return _exact(array, cast.real if target == "complex" else cast)
    same_nan = np.isnan(cast) == np.isnan(array)
    return same_nan & (np.isinf(cast) == np.isinf(array))


def _exact(array: Array, cast: Array) -> Any:
    """Whether integers kept their value as floats."""
    wide = cast.astype(np.float64)  # as exact as the floats are
    low, high = _limits(array.dtype)
    inside = (wide >= float(low)) & (wide < float(high + 1))  # a float beyond these was rounded up
    back = np.where(inside, wide, 0).astype(array.dtype)
    return inside & (back == array)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind in "iu":
        info: Any = np.iinfo(dtype)
    else:
        import ml_dtypes

        iinfo: Any = ml_dtypes.iinfo
        info = iinfo(dtype)
    return int(info.min), int(info.max)
