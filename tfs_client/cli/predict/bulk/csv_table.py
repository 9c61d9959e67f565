"""CSV: a picture, the model version, the best labels with scores, and the outputs that fit in a cell; or its boxes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.cli import exits
from tfs_client.cli.predict import report
from tfs_client.cli.predict.bulk.answer_rows import DETECTION, EDGES, OneKind, detection_rows, labelled, value_name
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.damaged_outputs import damaged
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.row_groups import RowGroups
from tfs_client.errors import ConfigError, EncodeError
from tfs_client.images import Answer, Detections, Segmentation

CELL = 64  # values per cell, as JSON; larger outputs need another format
CHARACTERS = 32767  # per cell, the limit of spreadsheets
FIRST = ["image", "model", "version"]
DETECTIONS = [*FIRST, *DETECTION, *EDGES]

_CELL_LIMITS = f"{CELL} values or {CHARACTERS} characters"
_START = ",".join(FIRST).encode()
_RESERVED = re.compile(r"image|model|version|(label|score|share)_\d+|output\..*")


class CsvTable:
    """Rows in a file; see ``outputs.Output``. The first row determines the columns.

    Args:
        path: the file.
        top: the number of labels of a row.
    """

    def __init__(self, path: str, top: int) -> None:
        self._top = top
        self._header: list[str] = []
        self._kind = OneKind()
        self._file = AppendFile(path, follow_link=True)
        self.held: set[str] = self._file.resume(self._read)
        self.has_answers: bool = True

    def _read(self) -> tuple[set[str], int]:
        """Read the names of the pictures, and the end of the last whole row or group of rows."""
        groups = RowGroups()
        end = 0
        with self._file.content() as content:
            for text in _whole_rows(content):
                cells = self._cells(text)
                end += len(text)
                if not self._header:
                    if cells[:3] != FIRST:
                        raise damaged(self._file.path, "table", f"it begins with {shown(cells[:3])}")
                    self._header = cells
                    self._kind = OneKind(_kind_of(cells))
                    groups.end = end
                else:
                    self._add_to(groups, cells, end)
            content.seek(end)
            if not self._header and not _START.startswith(rest := content.read(len(_START))) and rest.strip(b"\0"):
                raise damaged(self._file.path, "table", f"it begins with {shown(_decoded(rest))}")
            content.seek(end)
            self._check_rest(content)
        return groups.held, groups.end

    def _add_to(self, groups: RowGroups, cells: list[str], end: int) -> None:
        try:
            number, count = map(int, cells[3:5]) if self._header == DETECTIONS else (1, 1)
            groups.add(cells[0], number, count, end)
        except ValueError as error:  # a RowError, or text instead of a number
            raise damaged(self._file.path, "table", error) from None

    def _check_rest(self, content: BinaryIO) -> None:
        """Raise ConfigError if whole rows follow an incomplete one: that is damage, not a row cut off at the end."""
        content.readline()
        for text in content:
            if self._header and text.endswith(b"\n") and text.count(b'"') % 2 == 0:
                with suppress(csv.Error):
                    if len(next(csv.reader([_decoded(text)], strict=True), ())) == len(self._header):
                        raise damaged(self._file.path, "table", "an incomplete row precedes others")

    def _cells(self, text: bytes) -> list[str]:
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        try:
            cells = next(csv.reader([_decoded(text)], strict=True), [])
        except csv.Error as error:
            raise damaged(self._file.path, "table", f"{error}: {shown(text, 40)}") from None
        if self._header and len(cells) != len(self._header):
            raise damaged(
                self._file.path,
                "table",
                f"expected {len(self._header)} cells in each row, got {len(cells)}: {shown(text, 40)}",
            )
        return cells

    def add(self, row: Row, answer: Answer | None) -> None:
        """Append a row, or one for each detection. Raises EncodeError for outputs that do not fit in a cell."""
        self._kind.check(answer)
        begin = ""
        if not self._header:
            self._header = self._columns(row, answer)
            begin = _line(self._header)
        first = [row.image, row.model.name, row.model.version]
        if isinstance(answer, Detections):
            lines = (_line([*first, *one.values]) for one in detection_rows(answer))
            text = begin + "".join(lines)
        else:
            text = begin + _line([*first, *self._values(row, answer)])
        self._file.add(text.encode("utf-8", "surrogateescape"))

    def _values(self, row: Row, answer: Answer | None) -> list[object]:
        """Return the cells after the first ones."""
        values: dict[str, object] = {}
        for number, (label, value) in enumerate(labelled(answer), 1):
            if f"label_{number}" not in self._header:
                raise EncodeError(f"expected at most {number - 1} labels as in the rows before, got more; use .jsonl")
            values |= {f"label_{number}": label, f"{value_name(answer)}_{number}": value}
        columns = {_column(alias): alias for alias in row.outputs}
        for column in self._header:
            if column in columns:
                values[column] = _cell(columns[column], row.outputs[columns[column]])
        return [values.get(column) for column in self._header[len(FIRST) :]]

    def _columns(self, row: Row, answer: Answer | None) -> list[str]:
        """Return the header for rows like this one. Raises ConfigError if no output fits in a cell."""
        if isinstance(answer, Detections):
            return DETECTIONS
        is_map = isinstance(answer, Segmentation)
        labels = self._top if is_map else len(labelled(answer))  # other pictures may have more labels in their maps
        columns = [*FIRST, *(f"{what}_{n}" for n in range(1, labels + 1) for what in ("label", value_name(answer)))]
        fitting = [  # maps grow with their pictures, so the size of the first picture does not decide
            alias for alias, array in row.outputs.items() if _fits(array, alias) and not (is_map and array.ndim > 1)
        ]
        large = _listed({alias: array for alias, array in row.outputs.items() if alias not in fitting})
        if not fitting and not labels:
            raise ConfigError(
                f"--output: a cell of a table holds {_CELL_LIMITS}, and this model returns {large} for a picture; "
                "use .npz, .parquet or .jsonl"
            )
        if large and not labels:
            exits.show_note(f"tfs-predict: the table omits {large}: a cell holds {_CELL_LIMITS}")
        return columns + [_column(alias) for alias in fitting]

    def finish(self) -> None:
        """Do nothing: the file is complete after every row."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _kind_of(header: list[str]) -> str:
    if header == DETECTIONS:
        return "detections"
    return next(
        (kind for kind, column in (("shares", "share_1"), ("scores", "score_1")) if column in header), "outputs"
    )


def _whole_rows(content: BinaryIO) -> Iterator[bytes]:
    """Yield complete rows with their line ends. A row continues in the next line if a quote is open."""
    row: list[bytes] = []
    quotes = 0
    for text in content:
        row.append(text)
        quotes += text.count(b'"')
        if text.endswith(b"\n") and quotes % 2 == 0:
            yield b"".join(row)
            row, quotes = [], 0


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # so the writer quotes both \r and \n in cells
    return out.getvalue().removesuffix("\r\n") + "\n"


def _column(alias: str) -> str:
    """Return the column of an output; a prefix avoids the names of the other columns."""
    return f"output.{alias}" if _RESERVED.fullmatch(alias) else alias


def _cell(alias: str, array: Array) -> object:
    if array.size > CELL:
        raise EncodeError(f"output {alias!r} has {array.size} values, and a cell holds {CELL}; use .jsonl")
    value = _value(array, alias)
    if isinstance(value, str) and len(value) > CHARACTERS:
        raise EncodeError(f"output {alias!r} has {len(value)} characters, and a cell holds {CHARACTERS}; use .jsonl")
    return value


def _value(array: Array, alias: str) -> object:
    value = report.plain(array, alias)
    return value if not array.ndim and isinstance(value, (int, float, str)) else json.dumps(value)


def _fits(array: Array, alias: str) -> bool:
    return array.size <= CELL and len(str(_value(array, alias))) <= CHARACTERS


def _listed(outputs: Mapping[str, Array]) -> str:
    return ", ".join(f"{alias} {array.shape}" for alias, array in outputs.items())
