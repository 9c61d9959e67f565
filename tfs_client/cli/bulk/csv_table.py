"""CSV: a row has the picture, who answered, the best labels with their scores, and outputs that fit in a cell."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from tfs_client.cli import exits, report
from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.damage import damaged
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Array, Row
from tfs_client.errors import ConfigError, EncodeError
from tfs_client.shown import shown

CELL = 64  # values of an output that a cell holds, as JSON; more belongs in another kind of file
CHARACTERS = 32767  # of a cell, as spreadsheets take them
FIRST = ["image", "model", "version"]

_LIMITS = f"{CELL} values or {CHARACTERS} characters"
_BEGIN = ",".join(FIRST).encode()
_TAKEN = re.compile(r"image|model|version|(label|score)_\d+|output\..*")


class CsvTable:
    """Rows in a file; see ``outputs.Output``. The first row decides about the columns."""

    def __init__(self, path: str, best: Best) -> None:
        self._best = best
        self._header: list[str] = []
        self._file = GrowingFile(path, given=True)
        try:
            self.held, end = self._read()
            self._file.keep(end)
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> tuple[set[str], int]:
        """The names in it, and where its last whole row ends."""
        held: set[str] = set()
        end = 0
        with self._file.content() as content:
            for text in _whole_rows(content):
                cells = self._cells(text)
                if not self._header:
                    if cells[:3] != FIRST:
                        raise damaged(self._file.path, "table", f"it begins with {shown(cells[:3])}")
                    self._header = cells
                else:
                    held.add(cells[0])
                end += len(text)
            content.seek(end)
            if not self._header and not _BEGIN.startswith(rest := content.read(len(_BEGIN))) and rest.strip(b"\0"):
                raise damaged(self._file.path, "table", f"it begins with {shown(_decoded(rest))}")
            content.seek(end)
            self._check_rest(content)
        return held, end

    def _check_rest(self, content: BinaryIO) -> None:
        """Raise ConfigError if whole rows follow an incomplete one: that is damage, not a row cut off at the end."""
        content.readline()
        for text in content:
            if self._header and text.endswith(b"\n") and text.count(b'"') % 2 == 0:
                with suppress(csv.Error):
                    if len(next(csv.reader([_decoded(text)], strict=True), ())) == len(self._header):
                        raise damaged(self._file.path, "table", "a row before others is incomplete")

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

    def add(self, row: Row) -> None:
        """Add its line. Raises EncodeError for outputs that fit in no cell."""
        best = self._best.of(row.outputs)
        begin = ""
        if not self._header:
            self._header = self._columns(row, len(best))
            begin = _line(self._header)
        values: dict[str, Any] = {"image": row.image, "model": row.model.name, "version": row.model.version}
        for number, (label, score) in enumerate(best, 1):
            values |= {f"label_{number}": label, f"score_{number}": score}
        columns = {_column(alias): alias for alias in row.outputs}
        for column in self._header:
            if column in columns:
                values[column] = _cell(columns[column], row.outputs[columns[column]])
        text = begin + _line([values.get(column) for column in self._header])
        self._file.add(text.encode("utf-8", "surrogateescape"))

    def _columns(self, row: Row, labels: int) -> list[str]:
        """The header for rows like this one. Raises ConfigError when nothing of them fits in cells."""
        columns = [*FIRST, *(f"{what}_{n}" for n in range(1, labels + 1) for what in ("label", "score"))]
        fitting = [alias for alias, array in row.outputs.items() if _fits(array, alias)]
        large = _listed({alias: array for alias, array in row.outputs.items() if alias not in fitting})
        if not fitting and not labels:
            raise ConfigError(
                f"--output: a cell of a table takes {_LIMITS}, and this model gives {large} for a picture; "
                "use .npz, .parquet or .jsonl"
            )
        if large and not labels:
            exits.said("tfs-predict", f"the table leaves out {large}: a cell takes {_LIMITS}", exits.OK)
        return columns + [_column(alias) for alias in fitting]

    def finish(self) -> None:
        """The file is whole after every row."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole_rows(content: BinaryIO) -> Iterator[bytes]:
    """Rows with their ends, without what was cut off. A line within quotes goes on in the next one."""
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


def _line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # both of these are quoted in cells then
    return out.getvalue().removesuffix("\r\n") + "\n"


def _column(alias: str) -> str:
    """The column of an output; one that has the name of another column gets a prefix."""
    return f"output.{alias}" if _TAKEN.fullmatch(alias) else alias


def _cell(alias: str, array: Array) -> Any:
    if array.size > CELL:
        raise EncodeError(f"output {alias!r} has {array.size} values, and a cell takes {CELL}; use .jsonl")
    value = _value(array, alias)
    if isinstance(value, str) and len(value) > CHARACTERS:
        raise EncodeError(f"output {alias!r} has {len(value)} characters, and a cell takes {CHARACTERS}; use .jsonl")
    return value


def _value(array: Array, alias: str) -> Any:
    value = report.plain(array, alias)
    return value if not array.ndim and isinstance(value, (int, float, str)) else json.dumps(value)


def _fits(array: Array, alias: str) -> bool:
    return array.size <= CELL and len(str(_value(array, alias))) <= CHARACTERS


def _listed(outputs: Mapping[str, Array]) -> str:
    return ", ".join(f"{alias} {array.shape}" for alias, array in outputs.items())
