"""Parquet, written by pyarrow: the picture, the model version, the best labels and all outputs; or its boxes.

The file is written when the run has finished; until then, rows are in a journal.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain, islice
from typing import Any

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.cli.predict import report
from tfs_client.cli.predict.bulk.answer_rows import DETECTION, EDGES, OneKind, detection_rows, kind_of, labelled
from tfs_client.cli.predict.bulk.damaged_outputs import damaged
from tfs_client.cli.predict.bulk.journal import Journal, journal_of
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.row_answers import RowAnswers
from tfs_client.cli.predict.bulk.safe_files import replacing
from tfs_client.errors import ConfigError, EncodeError
from tfs_client.images import Answer, Detections

GROUP_ROWS, GROUP_VALUES = 1024, 1 << 22  # rows, or values in them, per row group

_RESERVED = re.compile(r"image|model|version|labels|scores|shares|output\..*")


class ParquetFile:
    """Rows in a file; see ``outputs.Output``. Raises ConfigError without pyarrow."""

    def __init__(self, path: str, answers: RowAnswers) -> None:
        try:
            self._arrow, self._parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigError("--output: .parquet needs pyarrow: pip install 'tfs-client[parquet]'") from None
        self._path = path
        self._answers = answers
        self._kind = OneKind()
        written: set[str] = set()
        if os.path.exists(path):
            written = self._names()
        self._journal = Journal(journal_of(path), written=written)
        self.held: set[str] = written | self._journal.held
        self.has_answers: bool = True
        for row in islice(self._journal.rows(), 1):
            self._check_kind(answers.of(row))

    def _names(self) -> set[str]:
        """Read the names in the table, and all the rest once: damage must be known before rows are added."""
        names: set[str] = set()
        try:
            with self._parquet.ParquetFile(self._path) as old:
                self._kind = OneKind(_kind_of_table(old.schema_arrow.names))
                for batch in old.iter_batches(GROUP_ROWS):
                    names.update(batch.column("image").to_pylist())
            if not all(isinstance(name, str) for name in names):
                raise ValueError("expected text in the column 'image'")
        except Exception as error:  # pyarrow raises exceptions of many types for damaged files
            raise damaged(self._path, "table", error) from error
        return names

    def add(self, row: Row, answer: Answer | None) -> None:
        """Add a row to the journal. Raises EncodeError for values that Parquet does not support."""
        self._check_kind(answer)
        if complex_ := [alias for alias, array in row.outputs.items() if array.dtype.kind == "c"]:
            raise EncodeError(f"output {complex_[0]!r} has complex numbers, which Parquet does not support; use .npz")
        try:
            row.image.encode()
        except UnicodeEncodeError:
            raise EncodeError("the picture's name is not UTF-8, which Parquet requires; use .jsonl") from None
        self._journal.add(row)

    def _check_kind(self, answer: Answer | None) -> None:
        if self._kind.kind == "scores" and kind_of(answer) == "outputs":  # the same columns: the lists are empty
            return
        self._kind.check(answer)

    def finish(self) -> None:
        """Write the table, which replaces the old one: first the old rows, then the rows of the journal."""
        if not os.path.exists(self._path) or any(True for _ in self._journal.rows()):
            tables = self._tables()
            if (first := next(tables, None)) is not None:
                with (
                    replacing(self._path) as file,
                    self._parquet.ParquetWriter(file, first.schema) as writer,
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
        answers = [None if self._kind.kind == "outputs" else self._answers.of(row) for row in rows]
        for answer in answers:
            self._check_kind(answer)
        if isinstance(answers[0], Detections):
            return self._detections(rows, answers)
        best = [labelled(answer) for answer in answers]
        columns = self._first_columns(rows) | {
            "labels": arrow.array([[label for label, _ in pairs] for pairs in best], arrow.list_(arrow.string())),
            "shares" if self._kind.kind == "shares" else "scores": arrow.array(
                [[value for _, value in pairs] for pairs in best], arrow.list_(arrow.float64())
            ),
        }
        for alias in rows[0].outputs:
            name = f"output.{alias}" if _RESERVED.fullmatch(alias) else alias
            columns[name] = self._column([row.outputs[alias] for row in rows])
        return arrow.table(columns)

    def _first_columns(self, rows: Sequence[Row]) -> dict[str, Any]:
        arrow = self._arrow
        return {
            "image": arrow.array([row.image for row in rows], arrow.string()),
            "model": arrow.array([row.model.name for row in rows], arrow.string()),
            "version": arrow.array([row.model.version for row in rows], arrow.int64()),
        }

    def _detections(self, rows: Sequence[Row], answers: Sequence[Answer | None]) -> Any:
        """Return a table with a row for each detection."""
        arrow = self._arrow
        found = [
            (row, one)
            for row, answer in zip(rows, answers, strict=True)
            if isinstance(answer, Detections)
            for one in detection_rows(answer)
        ]
        columns = self._first_columns([row for row, _ in found])
        types = (arrow.int64(), arrow.int64(), arrow.string(), arrow.int64(), *[arrow.float64()] * 5)
        for at, (name, type_) in enumerate(zip((*DETECTION, *EDGES), types, strict=True)):
            columns[name] = arrow.array([one.values[at] for _, one in found], type_)
        return arrow.table(columns)

    def _column(self, arrays: Sequence[Array]) -> Any:
        """Return an output of some rows as a column: values, or lists nested as deeply as it has axes."""
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


def _kind_of_table(columns: Sequence[str]) -> str:
    if columns[3 : 3 + len(DETECTION)] == list(DETECTION):
        return "detections"
    return columns[4]


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
