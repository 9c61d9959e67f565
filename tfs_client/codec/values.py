"""Python values to arrays, with TensorFlow's widths: int32 unless too big, float32, bytes for strings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client.codec.dtypes import BY_DTYPE, STRING, SUPPORTED, DType, Field, find, row_of
from tfs_client.errors import EncodeError

Array = np.ndarray[Any, Any]

# Which Python values a dtype takes without being asked twice: a value's kind may not rank above the dtype's.
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def as_array(values: Any, dtype: Any = None) -> Array:
    """An array that a tensor can hold.

    numpy arrays and scalars keep their dtype. Python numbers get TensorFlow's: bool, int32 (int64 or uint64 when too
    big), float32, complex128. Strings become object arrays, whose str elements are sent as UTF-8.

    Args:
        values: an array, a number, a string, nested lists or tuples of them, or anything numpy can read.
        dtype: the wanted dtype (see ``tfs_client.codec.dtypes.find``). Arrays are cast to it, as ``astype`` would;
            Python values must fit it.

    Raises EncodeError for ragged lists, None, mixed strings and numbers, and dtypes no tensor has.
    """
    if type(values) is np.ndarray and dtype is None and values.dtype in BY_DTYPE:
        return values
    row = None if dtype is None else find(dtype)
    if isinstance(values, (str, bytes)):  # np.str_ and np.bytes_ too; through bytes, trailing NULs stay
        return _fitting(_object(values, ()), row)
    if isinstance(values, (np.ndarray, np.generic)):
        return _cast(np.asarray(values), row)
    if values is None:
        raise EncodeError("None is no tensor; leave the input out, or send an empty array")
    if isinstance(values, (bool, int, float, complex, list, tuple, range)):
        return _from_python(values, row)
    return _cast(_numpy_array(values), row)


def _from_python(values: Any, row: DType | None) -> Array:
    first = values
    while isinstance(first, (list, tuple)) and len(first):
        first = first[0]
    if isinstance(first, (str, bytes)):
        return _fitting(_numpy_array(values, np.dtype(object)), row)
    array = _numpy_array(values)
    if row is not None and array.dtype.kind == "O" and row.field in (Field.FLOAT, Field.DOUBLE):
        array = _numpy_array(values, np.dtype(np.float64))  # integers of any size, as near as floats come
    if array.dtype.kind in "SU":  # numpy makes text of numbers when the list has both: let every element show its type
        return _fitting(_numpy_array(values, np.dtype(object)), row)
    if isinstance(first, int) and array.dtype.kind in "fO":
        array = _large_integers(values, array)
    if row is not None:
        return _fitting(array, row)
    if array.dtype == np.float64:
        return _rounded(array, np.dtype(np.float32))
    if array.dtype.kind == "i" and array.dtype.itemsize == 8:
        info = np.iinfo(np.int32)
        if not array.size or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(np.int32)
    return _cast(array, None)


def _large_integers(values: Any, array: Array) -> Array:
    """numpy makes floats of integers on both sides of 2**63, and loses digits; give them uint64 where it fits."""
    exact = np.array(values, dtype=object)
    if not all(isinstance(value, int) for value in exact.flat):
        return array
    if min(exact.flat) < 0 or max(exact.flat) >> 64:
        raise EncodeError("expected integers of at most 64 bits, got larger or mixed-sign ones")
    return _numpy_array(values, np.dtype(np.uint64))


def _numpy_array(values: Any, dtype: np.dtype[Any] | None = None) -> Array:
    try:
        return np.asarray(values, dtype)
    except OverflowError:
        raise EncodeError("expected integers of at most 64 bits, got larger or mixed-sign ones") from None
    except (ValueError, TypeError) as error:
        raise EncodeError(f"expected a rectangular array of values, got {_short(values)}: {error}") from None


def _object(value: Any, shape: tuple[int, ...]) -> Array:
    array = np.empty(shape, object)
    array[...] = value
    return array


def _cast(array: Array, row: DType | None) -> Array:
    """An existing array, as it is or explicitly cast."""
    if array.dtype.kind == "T":  # numpy's strings of variable width
        array = array.astype(object)
    own = row_of(array.dtype)
    if own is STRING:
        check_strings(array)
    if row is None or row is own:
        return array
    if (row is STRING) != (own is STRING):
        raise EncodeError(f"expected values for {row.name}, got an array of {array.dtype}")
    return array.astype(row.dtype)


def _fitting(array: Array, row: DType | None) -> Array:
    """Python values in the wanted dtype; nothing is rounded, wrapped or cut on the way."""
    own = row_of(array.dtype)
    if own is STRING:
        check_strings(array)
    if row is None:
        return array
    if (row is STRING) != (own is STRING) and array.size:
        raise EncodeError(f"expected values for {row.name}, got {_short(array.tolist())}")
    if row is STRING or not array.size:
        return array.astype(row.dtype)
    target = row.dtype
    base = target if target.fields is None else np.dtype(next(iter(target.fields.values()))[0])
    kind = base.kind if base.kind in _RANK else ("i" if row.name.startswith(("int", "uint")) else "f")
    if _RANK[array.dtype.kind] > _RANK[kind] or (kind == "b" and array.dtype.kind != "b"):
        raise EncodeError(f"expected values for {row.name}, got {array.dtype.name}")
    cast = _rounded(array, base)
    # A negative number and the large unsigned one of the same bits are told apart by their sign.
    if kind in "iu" and not (np.array_equal(cast.astype(array.dtype), array) and np.array_equal(cast < 0, array < 0)):
        raise EncodeError(f"expected values that fit {row.name}, got {_short(array.tolist())}")
    return cast.view(target) if target.fields is not None else cast


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array in another dtype; floats lose digits, as they must, but never become infinite."""
    with np.errstate(over="raise"):
        try:
            return array.astype(dtype)
        except FloatingPointError:
            shown = _short(array.tolist())
            raise EncodeError(f"expected values that fit {dtype}, got {shown}; ask for a wider dtype") from None


def check_strings(array: Array) -> None:
    """Raise EncodeError unless every element of an object array is str or bytes."""
    if array.dtype.kind != "O":
        return
    for index, value in enumerate(array.flat):
        if not isinstance(value, (str, bytes)):
            kind = type(value).__name__
            raise EncodeError(
                f"expected str or bytes in an object array, got {kind} at element {index}; tensors hold {SUPPORTED}"
            )


def _short(values: Any) -> str:
    shown = repr(values)
    return shown if len(shown) <= 80 else shown[:77] + "..."
