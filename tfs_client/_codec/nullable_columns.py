"""Convert nullable columns of pyarrow, pandas and polars to numpy arrays, without importing a package.

numpy reads a missing value in a column of numbers as NaN, and a column of fixed-size lists as objects. Here missing
values are refused, and lists of one length become an axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._codec.encode_errors import missing
from tfs_client.errors import EncodeError


def is_column(values: object) -> bool:
    """Return whether ``read`` supports this value."""
    return _package(values) in ("pyarrow", "polars") or hasattr(getattr(values, "dtype", None), "numpy_dtype")


def read(values: object) -> Any:
    """Return the values as a numpy array, or a scalar as a Python value.

    Raises EncodeError for missing values and ragged lists.
    """
    package = _package(values)
    if package == "pyarrow":
        return _arrow(values)
    if package == "polars":
        return _polars(values)
    return _pandas(values)


def _package(values: object) -> str:
    return type(values).__module__.partition(".")[0]


def _pandas(values: Any) -> Array:
    """Convert a column of a nullable or Arrow dtype."""
    gaps = np.asarray(values.isna(), bool)
    if gaps.any():
        raise missing(
            int(gaps.sum()), int(gaps.argmax()), "fill them first, e.g. with column.fillna(0), or '' for text"
        )
    dtype = np.dtype(values.dtype.numpy_dtype)
    return np.asarray(values, dtype if dtype.kind in "biuf" else None)


_FILL_NULLS = "fill them first, e.g. with fill_null(0), or '' for text"


def _polars(values: Any) -> Array:
    if type(values).__name__ == "LazyFrame":
        raise EncodeError("expected an array, got a LazyFrame, which has no values yet; collect it first: df.collect()")
    if hasattr(values, "columns"):
        _no_gaps(int(np.asarray(values.null_count()).sum()))
        for name in values.columns:
            refuse_structs(values[name])
        return np.asarray(values)
    if not hasattr(values, "null_count"):
        return np.asarray(values)
    refuse_structs(values)
    if count := int(values.null_count()):
        raise missing(count, int(np.asarray(values.is_null()).argmax()), _FILL_NULLS)
    if type(values.dtype).__name__ == "List":
        values = values.list.to_array(_one_length(np.asarray(values.list.len())))
    inside = values
    while type(inside.dtype).__name__ == "Array":
        inside = inside.explode()
        _no_gaps(int(inside.null_count()))
    return np.asarray(values.to_numpy())


def refuse_structs(values: object) -> None:
    """Raise EncodeError for a polars column of structs, also in lists: numpy would turn their fields into an axis."""
    dtype: Any = getattr(values, "dtype", None)
    while hasattr(dtype, "inner"):
        dtype = dtype.inner
    if type(dtype).__name__ == "Struct":
        raise EncodeError("expected numbers or text, got a column of structs; send its fields as separate inputs")


def _no_gaps(count: int) -> None:
    if count:
        raise EncodeError(f"expected a value in every place, got {count} missing; {_FILL_NULLS}")


def _arrow(values: Any) -> Any:
    if hasattr(values, "as_py") and not hasattr(values, "null_count"):
        return values.as_py()  # a scalar
    if hasattr(values, "combine_chunks") and hasattr(values, "chunks"):
        values = values.combine_chunks()
    if hasattr(values, "columns"):
        _no_gaps(sum(int(column.null_count) for column in values.columns))
    if not (hasattr(values, "null_count") and hasattr(values, "to_numpy")):
        return np.asarray(values)  # a table, a tensor
    if values.null_count:
        gaps = values.is_null().to_numpy(zero_copy_only=False)
        raise missing(int(values.null_count), int(gaps.argmax()), _FILL_NULLS)
    if hasattr(values, "to_numpy_ndarray"):  # FixedShapeTensorArray
        return values.to_numpy_ndarray()
    if hasattr(values, "storage"):  # other extension types
        return _arrow(values.storage)
    if hasattr(values, "dictionary_decode"):
        return _arrow(values.dictionary_decode())
    if hasattr(values.type, "value_type") and hasattr(values, "flatten"):
        return _lists(values)
    return values.to_numpy(zero_copy_only=False)


def _lists(values: Any) -> Array:
    """Convert lists of one length to an additional axis."""
    size = getattr(values.type, "list_size", None)
    if size is None:
        size = _one_length(values.value_lengths().to_numpy(zero_copy_only=False))
    inner = np.asarray(_arrow(values.flatten()))
    return inner.reshape(len(values), size, *inner.shape[1:])


def _one_length(lengths: Array) -> int:
    sizes = np.unique(lengths)
    if len(sizes) > 1:
        raise EncodeError(
            f"expected lists of one length, got lengths from {sizes[0]} to {sizes[-1]}; pad ragged ones, or send them "
            "one by one"
        )
    return int(sizes[0]) if len(sizes) else 0
