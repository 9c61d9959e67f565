"""Rows of containers: by position, regardless of labels, and None where a row is missing."""

from __future__ import annotations

import collections
import datetime

import numpy as np
import pytest
from labelled import Labelled

from tfs_client._codec import containers
from tfs_client.errors import EncodeError

NAN = float("nan")


def listed(values):
    """The rows as nested lists of Python's values."""
    rows = containers.rows(values)
    return [row.tolist() if hasattr(row, "tolist") else row for row in rows]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([3, 1], [3, 1]),
        ((3, 1), [3, 1]),
        (range(3), [0, 1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a", None], object), ["a", None]),
        (np.array(["a", NAN], object), ["a", None]),
        (["a", NAN, None], ["a", None, None]),
        (Labelled([5.0, 6.0, 7.0], labels=[2, 1, 0]), [5.0, 6.0, 7.0]),
        (collections.deque([1, 2]), [1, 2]),
        ({"a": 1, "b": 2}.values(), [1, 2]),
        ({"a": 1, "b": 2}.keys(), ["a", "b"]),
        ((number for number in (1, 2)), [1, 2]),
        (memoryview(np.arange(2.0)), [0.0, 1.0]),
        ([], []),
        (np.zeros((0, 3)), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_come_in_the_containers_order(values, rows):
    assert listed(values) == rows


def test_nan_among_numbers_is_a_value():
    assert np.isnan(containers.rows([1.0, NAN])[1])
    assert np.isnan(containers.rows(np.array([1.0, NAN]))[1])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({1, 2}, "a set has no order; pass a list, such as sorted"),
        (frozenset("a"), "a frozenset has no order"),
        ("abc", "expected a list or array, got str"),
        (b"abc", "got bytes"),
        (bytearray(b"abc"), "got bytearray"),
        ({"a": 1}, "got dict"),
        (5, "got int"),
        (None, "got NoneType"),
        (np.array(3.0), "got an array without axes"),
        (np.float32(3), "got an array without axes"),
        (np.ma.array([1, 2], mask=[True, False]), "got a masked array; pass array.filled"),
        (np.array(["2020-01-01"], "datetime64[D]"), "expected numbers or text, got dates or times"),
    ],
)
def test_containers_without_rows_or_order_are_refused(values, text):
    with pytest.raises(EncodeError, match=text):
        containers.rows(values)


class Frame:
    """Looks like a table: columns with names, and a way to its rows."""

    columns = ("x", "y")

    def itertuples(self):
        return iter([(1.0, 2.0)])


class Cursor:
    """Knows its columns, and gives rows: no table."""

    columns = ("x", "y")

    def __iter__(self):
        return iter([(1.0, 2.0)])


def test_a_table_is_recognised_by_its_columns_and_the_refusal_suggests_alternatives():
    assert containers.is_table(Frame())
    assert not containers.is_table(Cursor())
    assert not containers.is_table({"x": [1]})
    with pytest.raises(
        EncodeError, match=r"got the table Frame, .*dict\(df\).*to_dict\('records'\).*to_numpy\(dtype\)"
    ):
        containers.refuse_table(Frame())
    with pytest.raises(EncodeError, match="expected a table in memory, got Frame"):
        containers.columns(Frame())


# --- the packages themselves ----------------------------------------------------------------------------------------


def pandas_columns():
    import pandas as pd

    labels = [7, 7, "x"]
    return {
        "labels": (pd.Series([3.0, 1.0, 2.0], index=labels), [3.0, 1.0, 2.0]),
        "sorted": (pd.Series([3.0, 1.0, 2.0]).sort_values(), [1.0, 2.0, 3.0]),
        "filtered": (pd.Series([3, 1, 2])[lambda column: column > 1], [3, 2]),
        "integers with gaps": (pd.Series([1, None, 3], dtype="Int64", index=labels), [1, None, 3]),
        "complete integers": (pd.Series([1, 2, 3], dtype="Int64", index=labels), [1, 2, 3]),
        "floats with gaps": (pd.Series([1.5, None], dtype="Float64"), [1.5, None]),
        "bools with gaps": (pd.Series([True, None], dtype="boolean"), [True, None]),
        "text": (pd.Series(["a", None, "b"], index=labels), ["a", None, "b"]),
        "strings": (pd.Series(["a", None], dtype="string"), ["a", None]),
        "objects": (pd.Series(["a", np.nan, None], dtype=object), ["a", None, None]),
        "categories": (pd.Series(["b", "a", None], dtype="category"), ["b", "a", None]),
        "categories of numbers": (pd.Series([3, 1, None], dtype="category"), [3, 1, None]),
        "bare categories": (pd.Categorical(["b", "a"]), ["b", "a"]),
        "extension array": (pd.array([1, None], dtype="Int64"), [1, None]),
        "index": (pd.Index(["p", "q"]), ["p", "q"]),
        "range index": (pd.RangeIndex(2), [0, 1]),
        "multi index": (pd.MultiIndex.from_tuples([("a", "b"), ("c", "d")]), [("a", "b"), ("c", "d")]),
        "lists": (pd.Series([[1, 2], [3]], index=[5, 4]), [[1, 2], [3]]),
        "a frame": (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=[9, 9]), [[1.0, 3.0], [2.0, 4.0]]),
        "a frame of two types": (pd.DataFrame({"a": [1, 3], "b": [2.5, 4.5]}), [(1, 2.5), (3, 4.5)]),
        "a frame with one name twice": (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), [[1, 2], [3, 4]]),
        "a frame of text": (pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"]}), [("x", "u"), ("y", "v")]),
        "a frame with a column named like a method": (pd.DataFrame({"get_columns": [1], "schema": [2]}), [[1, 2]]),
        "a frame without columns": (pd.DataFrame(index=[1, 2]), [(), ()]),
    }


def polars_columns():
    import polars as pl

    return {
        "floats": (pl.Series([1.5, None, 2.0]), [1.5, None, 2.0]),
        "float32": (pl.Series([1.5, 2.5], dtype=pl.Float32), [1.5, 2.5]),
        "text": (pl.Series(["a", None]), ["a", None]),
        "bytes": (pl.Series([b"a", b"\xff"]), [b"a", b"\xff"]),
        "bools": (pl.Series([True, None]), [True, None]),
        "categories": (pl.Series(["b", "a"], dtype=pl.Categorical), ["b", "a"]),
        "lists": (pl.Series([[1, 2], [3]]), [[1, 2], [3]]),
        "arrays": (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), [[1, 2], [3, 4]]),
        "a frame": (pl.DataFrame({"a": [1, 2], "b": [3.5, 4.5]}), [(1, 3.5), (2, 4.5)]),
    }


def arrow_columns():
    import pyarrow as pa

    return {
        "integers": (pa.array([1, None, 3]), [1, None, 3]),
        "float32": (pa.array([1.5, 2.5], pa.float32()), [1.5, 2.5]),
        "text": (pa.array(["a", None]), ["a", None]),
        "chunks": (pa.chunked_array([[1, 2], [3]]), [1, 2, 3]),
        "a dictionary": (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        "lists": (pa.array([[1, 2], [3]]), [[1, 2], [3]]),
        "lists of one size": (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), [[1, 2], [3, 4]]),
        "a slice": (pa.array([1, 2, 3])[1:], [2, 3]),
        "a table": (pa.table({"a": [1, 2], "b": ["x", "y"]}), [(1, "x"), (2, "y")]),
        "a record batch": (pa.record_batch({"a": [1.0, 2.0]}), [[1.0], [2.0]]),
    }


def xarray_columns():
    import xarray as xr

    return {
        "an array": (xr.DataArray([2.0, 1.0], dims="t", coords={"t": [1, 0]}), [2.0, 1.0]),
        "a data set": (xr.Dataset({"a": ("t", [1.0, 2.0]), "b": ("t", [3.0, 4.0])}), [[1.0, 3.0], [2.0, 4.0]]),
    }


@pytest.mark.peer
@pytest.mark.parametrize("columns", [pandas_columns, polars_columns, arrow_columns, xarray_columns])
def test_columns_of_packages_are_read_by_position(columns):
    for what, (values, rows) in columns().items():
        assert listed(values) == rows, what


@pytest.mark.peer
def test_dates_of_packages_are_refused():
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    for values in (
        pd.Series(pd.date_range("2020", periods=2)),
        pd.date_range("2020", periods=2),
        pd.Series(pd.to_timedelta([1, 2])),
        pl.Series([datetime.date(2020, 1, 1)]),
        pa.array([datetime.datetime(2020, 1, 1)]),
    ):
        with pytest.raises(EncodeError, match="expected numbers or text, got dates or times"):
            containers.rows(values)


@pytest.mark.peer
def test_columns_of_tables_have_their_names():
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import xarray as xr

    for table in (
        pd.DataFrame({"a": [2, 1], "b": ["x", "y"]}, index=[1, 0]),
        pl.DataFrame({"a": [2, 1], "b": ["x", "y"]}),
        pa.table({"a": [2, 1], "b": ["x", "y"]}),
        xr.Dataset({"a": ("t", [2, 1]), "b": ("t", np.array(["x", "y"], object))}),
    ):
        assert containers.is_table(table)
        found = containers.columns(table)
        assert {name: listed(column) for name, column in found.items()} == {"a": [2, 1], "b": ["x", "y"]}
    for table, text in (
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "got 'a' twice"),
        (pl.DataFrame({"a": [1]}).lazy(), "expected a table in memory, got LazyFrame"),
        (xr.Dataset({"a": ("t", [1.0]), "b": ("u", [2.0])}), "expected variables along one first dimension"),
    ):
        with pytest.raises(EncodeError, match=text):
            containers.columns(table)
