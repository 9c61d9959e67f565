"""Parquet, by pyarrow: a table with the picture, who answered, the best labels, and a column for each output.

The file is written when the run has come to its end; until then rows wait in a journal.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain
from typing import Any

import numpy as np

from tfs_client.cli import report
from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.damage import damaged
from tfs_client.cli.bulk.journal import Journal, journal_of, replacing
from tfs_client.cli.bulk.outcomes import Array, Row
from tfs_client.errors import ConfigError, EncodeError

GROUP_ROWS, GROUP_VALUES = 1024, 1 << 22  # rows, or values in them, that are written together

_TAKEN = re.compile(r"image|model|version|labels|scores|output\..*")


class ParquetFile:
    """Rows in a file; see ``outputs.Output``. Raises ConfigError without pyarrow."""

    def __init__(self, path: str, best: Best) -> None:
        try:
            self._arrow, self._parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigError("--output: for .parquet install pyarrow (pip install pyarrow)") from None
        self._path = path
        self._best = best
        there: set[str] = set()
        if os.path.exists(path):
            there = self._names()
        self._journal = Journal(journal_of(path), elsewhere=there)
        self.held = there | self._journal.held

    def _names(self) -> set[str]:
        """The names in the table. All of it is read once: rows that cannot be kept must be known before others come."""
        names: set[str] = set()
        try:
            with self._parquet.ParquetFile(self._path) as old:
                for batch in old.iter_batches(GROUP_ROWS):
                    names.update(batch.column("image").to_pylist())
            if not all(isinstance(name, str) for name in names):
                raise ValueError("expected text in the column 'image', got something else")
        except Exception as error:  # pyarrow raises almost anything for damaged files
            raise damaged(self._path, "table", error) from error
        return names

    def add(self, row: Row) -> None:
        """Add it to the journal."""
        if complex_ := [alias for alias, array in row.outputs.items() if array.dtype.kind == "c"]:
            raise EncodeError(f"output {complex_[0]!r} has complex numbers, which Parquet does not know; use .npz")
        try:
            row.image.encode()
        except UnicodeEncodeError:
            raise EncodeError("the picture's name is no UTF-8, as Parquet wants its text; use .jsonl") from None
        self._journal.add(row)

    def finish(self) -> None:
        """Write the table, in place of the old one: first what that had, then the rows of the journal."""
        if not os.path.exists(self._path) or any(True for _ in self._journal.rows()):
            tables = self._tables()
            if (first := next(tables, None)) is not None:
                with (
                    replacing(self._path) as beside,
                    self._parquet.ParquetWriter(beside, first.schema) as writer,
                ):
                    for table in chain([first], tables):
                        writer.write_table(table)
        self._journal.remove()

    def _tables(self) -> Iterator[Any]:
        if os.path.exists(self._path):
            with self._parquet.ParquetFile(self._path) as old:
                for batch in old.iter_batches(GROUP_ROWS):
                    yield self._arrow.Table.from_batches([batch])
        for rows in _groups(self._journal.rows()):
            yield self._table(rows)

    def _table(self, rows: Sequence[Row]) -> Any:
        arrow = self._arrow
        best = [self._best.of(row.outputs) for row in rows]
        columns = {
            "image": arrow.array([row.image for row in rows], arrow.string()),
            "model": arrow.array([row.model.name for row in rows], arrow.string()),
            "version": arrow.array([row.model.version for row in rows], arrow.int64()),
            "labels": arrow.array([[label for label, _ in pairs] for pairs in best], arrow.list_(arrow.string())),
            "scores": arrow.array([[score for _, score in pairs] for pairs in best], arrow.list_(arrow.float64())),
        }
        for alias in rows[0].outputs:
            name = f"output.{alias}" if _TAKEN.fullmatch(alias) else alias
            columns[name] = self._column([row.outputs[alias] for row in rows])
        return arrow.table(columns)

    def _column(self, arrays: Sequence[Array]) -> Any:
        """An output of some rows: values, or lists of them, as deep as it has axes."""
        values = np.concatenate([array.reshape(-1) for array in arrays])
        if values.dtype.kind == "O":
            column = self._arrow.array([report.text(value) for value in values], self._arrow.string())
        else:
            column = self._arrow.array(values)
        for axis in reversed(range(arrays[0].ndim)):
            counts = [np.full(math.prod(array.shape[:axis]), array.shape[axis]) for array in arrays]
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
            column = self._arrow.ListArray.from_arrays(self._arrow.array(offsets, self._arrow.int32()), column)
        return column

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    values = 0
    for row in rows:
        group.append(row)
        values += sum(array.size for array in row.outputs.values())
        if len(group) >= GROUP_ROWS or values >= GROUP_VALUES:
            yield group
            group, values = [], 0
    if group:
        yield group
