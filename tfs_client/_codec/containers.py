"""Read containers row by row: lists, arrays, columns and tables of pandas, Polars, Arrow and xarray, generators.

Only this module reads the containers that users pass. Indexing them would be wrong: a pandas Series is indexed by label
and a frame by column, so a sorted frame would give its rows in another order. No such package is imported. Containers
are recognized by the attributes of their classes, because instances of pandas also have their columns as attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._codec.nullable_columns import refuse_structs
from tfs_client._codec.values import read
from tfs_client._printable import shown
from tfs_client.errors import EncodeError

Rows = Sequence[object] | Array

# Of pandas, Polars, Arrow, Spark, and lazy frames.
_OF_TABLES = ("itertuples", "iter_rows", "to_pandas", "toPandas", "collect")
_NO_TABLES = frozenset({dict, list, tuple, np.ndarray})  # nearly all values
_OF_COLUMNS = ("to_pylist", "to_list", "isna")  # Arrow; Polars; pandas
_OF_ARRAYS = ("__array__", "__dlpack__", "__array_interface__")
_ONE_VALUE = (str, bytes, bytearray, int, float, complex, Mapping)

# How to pass a table unambiguously: its columns by name, its rows by name, one array.
_PANDAS = "dict(df)", "df.to_dict('records')", "df.to_numpy(dtype)"
_POLARS = "df.to_dict()", "df.to_dicts()", "df.to_numpy()"
_ARROW = "dict(zip(table.column_names, table.columns))", "table.to_pylist()", "numpy.column_stack(table.columns)"
_XARRAY = "dict(ds)", "ds.to_dataframe().to_dict('records')", "ds.to_dataframe().to_numpy(dtype)"


def is_table(value: object) -> bool:
    """Return whether this is a table with named columns: a pandas or Polars frame, an Arrow table, a Dataset."""
    kind = type(value)
    if kind in _NO_TABLES:
        return False
    if hasattr(kind, "columns"):
        return any(hasattr(kind, name) for name in _OF_TABLES)
    return hasattr(kind, "data_vars")


def refuse_table(value: object) -> None:
    """Raise EncodeError for a table as all inputs or examples of a call, naming what to pass instead.

    A table is ambiguous: its columns may be inputs by name, or one axis of a single input.
    """
    if is_table(value):
        columns, rows, array = _ways(type(value))
        raise EncodeError(
            f"expected inputs or examples, got the table {type(value).__name__}, which is ambiguous; "
            f"give its columns by name, {columns}; its rows by name, {rows}; or one array of rows and columns, {array}"
        )


def rows(values: Any, want: str = "expected a list or array") -> Rows:
    """Return the rows of a container in order: a list, a tuple, a range, or an array with at least one axis.

    A generator is consumed. A table gives one row for each of its rows. Rows that are marked as missing become None:
    pandas' NA, nulls of Polars and Arrow, and NaN in a column of text. NaN in a column of numbers is a value.

    Args:
        want: the beginning of the error for a value without rows.

    Raises EncodeError for a value without rows or order, or with values that no array can hold.
    """
    kind = type(values)
    if isinstance(values, (list, tuple)):
        return _unmarked(values)
    if isinstance(values, np.ndarray):
        return _of_array(values, want)
    if is_table(values):
        return _of_table(values)
    if isinstance(values, _ONE_VALUE):
        raise EncodeError(f"{want}, got {kind.__name__}")
    if isinstance(values, (set, frozenset)):
        raise EncodeError(f"a {kind.__name__} has no order; pass a list, such as sorted(values)")
    if hasattr(kind, "__array__") and isinstance(values.dtype if hasattr(kind, "dtype") else None, np.dtype):
        return _of_array(_array(values), want)  # pandas on numpy, xarray, JAX
    if any(hasattr(kind, name) for name in _OF_COLUMNS):  # with dtypes that numpy does not have
        return _of_column(values, want)
    if isinstance(values, memoryview) or any(hasattr(kind, name) for name in _OF_ARRAYS):
        found = read(values)
        return _of_array(found if isinstance(found, np.ndarray) else found.array, want)
    if isinstance(values, Iterable):
        return _unmarked(list(values))
    raise EncodeError(f"{want}, got {kind.__name__}")


def plain(value: object) -> Any:
    """Return the ``rows`` of a container, so that numpy reads it by position; arrays and single values unchanged."""
    kind = type(value)
    if isinstance(value, (np.ndarray, np.generic, *_ONE_VALUE)) and not is_table(value):
        return value
    if any(hasattr(kind, name) for name in _OF_COLUMNS) or is_table(value):
        return rows(value)
    if isinstance(value, Iterable) and not any(hasattr(kind, name) for name in _OF_ARRAYS):
        return rows(value)
    return value


def missing(value: object) -> bool:
    """Return whether this marks a missing value."""
    return value is None or type(value).__name__ == "NAType"


def columns(table: object) -> dict[str, object]:
    """Return the columns of a table by name. Raises EncodeError for duplicate names and lazy tables."""
    found: dict[str, object] = {}
    for name, column in _named(table):
        if name in found:
            raise EncodeError(f"expected columns with different names, got {shown(name)} twice")
        found[name] = column
    return found


def _named(table: Any) -> list[tuple[Any, object]]:
    kind = type(table)
    if hasattr(kind, "iloc"):  # pandas; names may repeat
        return [(name, table.iloc[:, index]) for index, name in enumerate(table.columns)]
    if hasattr(kind, "get_columns"):  # Polars
        return [(column.name, column) for column in table.get_columns()]
    if hasattr(kind, "to_pylist"):  # Arrow
        return [(name, table.column(index)) for index, name in enumerate(table.schema.names)]
    if hasattr(kind, "data_vars"):  # xarray
        named = [(name, table[name]) for name in table.data_vars]
        if len(axes := {column.dims[:1] for _, column in named}) > 1:
            raise EncodeError(f"expected variables along one first dimension, got {sorted(axes)}")
        return named
    raise EncodeError(f"expected a table in memory, got {kind.__name__}; collect or compute it first")


def _ways(kind: type) -> tuple[str, str, str]:
    if hasattr(kind, "data_vars"):
        return _XARRAY
    if hasattr(kind, "to_pylist"):
        return _ARROW
    return _POLARS if hasattr(kind, "to_dicts") or hasattr(kind, "collect_schema") else _PANDAS


def _of_array(array: Array, want: str) -> Rows:
    if isinstance(array, np.ma.MaskedArray):
        raise EncodeError("expected an array without a mask, got a masked array; pass array.filled(value)")
    if not array.ndim:
        raise EncodeError(f"{want}, got an array without axes")
    if array.dtype.kind in "Mm":
        raise EncodeError(DATES)
    return _unmarked(array.tolist()) if array.dtype.kind == "O" and array.ndim == 1 else array


def _of_table(table: Any) -> Rows:
    """Return one row for each row of a table, with the values of all columns, without their names."""
    parts = [rows(column) for _, column in _named(table)]
    arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim == 1]
    if parts and len(arrays) == len(parts) and len({array.dtype for array in arrays}) == 1:
        return np.stack(arrays, axis=1)
    if not parts:
        return [()] * len(table)
    return list(zip(*(part.tolist() if isinstance(part, np.ndarray) else part for part in parts), strict=True))


def _of_column(values: Any, want: str) -> Rows:
    """Read a column with a dtype that can mark rows as missing; numpy would turn such integers into floats with NaN."""
    kind = type(values)
    complete = not hasattr(kind, "to_list")
    if hasattr(kind, "null_count"):  # Arrow's attribute, a method of Polars
        refuse_structs(values)
        count = values.null_count
        complete = (count() if callable(count) else count) == 0
    elif hasattr(kind, "isna"):
        marks = np.asarray(values.isna())
        complete = not marks.any() or hasattr(values.dtype, "fill_value")  # a sparse column's NaN is a value
        if not complete:
            return [None if mark else value for value, mark in zip(values, marks.tolist(), strict=True)]
    if complete and hasattr(kind, "__array__") and (array := _array(values)).dtype.kind in "biufMm":
        return _of_array(array, want)
    for name in ("to_pylist", "to_list"):
        if hasattr(kind, name):
            return _unmarked(getattr(values, name)())
    return _unmarked(list(values))


def _array(values: object) -> Array:
    try:
        return np.asarray(values)
    except Exception as error:  # any exception of the container's own code
        raise EncodeError(f"expected rows that numpy can read, got {type(values).__name__}: {error}") from error


def _unmarked(values: Sequence[object]) -> Sequence[object]:
    """Replace rows that pandas marks as missing, by NA or by NaN in a column of text, with None."""
    kinds = set(map(type, values))
    text = any(issubclass(kind, (str, bytes)) for kind in kinds)
    if any(kind.__name__ == "NAType" or (text and issubclass(kind, float)) for kind in kinds):
        return [
            None if missing(value) or (text and isinstance(value, float) and value != value) else value
            for value in values
        ]
    return values


DATES = (
    "expected numbers or text, got dates or times; convert them to numbers, such as "
    "column.astype('datetime64[s]').astype('int64'), or text, such as column.astype(str)"
)
