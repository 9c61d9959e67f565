"""Outputs: the destinations of rows, chosen by the suffix of the file."""

from __future__ import annotations

import os
from typing import Protocol

from tfs_client.cli.predict.bulk.journal import journal_of
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.row_answers import RowAnswers
from tfs_client.cli.predict.bulk.safe_files import temporary_of
from tfs_client.errors import ConfigError
from tfs_client.images import Answer

SUFFIXES = (".jsonl", ".csv", ".npz", ".parquet")


class Output(Protocol):
    """A destination of rows.

    Attributes:
        held: the names of the pictures whose rows it contains.
        has_answers: whether rows contain answers. Otherwise they only have the outputs.
    """

    held: set[str]
    has_answers: bool

    def add(self, row: Row, answer: Answer | None) -> None:
        """Write a row, so that it survives a crash. Raises EncodeError for a row that the output cannot represent.

        Args:
            row: the outputs for a picture.
            answer: what they say about the picture; ``answers`` reads the same again. Of detections, all rows or none
                survive a crash.
        """

    def finish(self) -> None:
        """Write the requested file from all rows. Until then, a later run can continue with the rows."""

    def close(self) -> None:
        """Release the files. Idempotent."""


def suffix_of(path: str) -> str:
    """Return the suffix, which decides the format. Raises ConfigError for an unknown one."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        *others, last = SUFFIXES
        raise ConfigError(f"--output: expected a file with the suffix {', '.join(others)} or {last}, got {path!r}")
    return suffix


def open_output(path: str | None, answers: RowAnswers) -> Output:
    """Open the output at a path; None is standard output. Existing rows are kept. Raises ConfigError."""
    if path is None:
        from tfs_client.cli.predict.bulk.json_lines import StandardOutput

        return StandardOutput()
    suffix = suffix_of(path)
    if suffix == ".jsonl":
        from tfs_client.cli.predict.bulk.json_lines import JsonLines

        return JsonLines(path)
    if suffix == ".csv":
        from tfs_client.cli.predict.bulk.csv_table import CsvTable

        return CsvTable(path, answers.top)
    if suffix == ".npz":
        from tfs_client.cli.predict.bulk.npz import NpzArchive

        return NpzArchive(path)
    from tfs_client.cli.predict.bulk.parquet import ParquetFile

    return ParquetFile(path, answers)


def files_of(path: str) -> list[str]:
    """Return the files of an output: the file itself, the temporary file that replaces it, and the journal.

    Rows are appended to the last one.
    """
    return [path, temporary_of(path), journal_of(path)] if suffix_of(path) in (".npz", ".parquet") else [path]
