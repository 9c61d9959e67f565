"""Outputs: where rows are kept, chosen by the ending of the file."""

from __future__ import annotations

import os
from typing import Protocol

from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.journal import beside, journal_of
from tfs_client.cli.bulk.outcomes import Row
from tfs_client.errors import ConfigError

SUFFIXES = (".jsonl", ".csv", ".npz", ".parquet")


class Output(Protocol):
    """Keeps rows.

    Attributes:
        held: the names of the pictures whose rows it has.
    """

    held: set[str]

    def add(self, row: Row) -> None:
        """Keep a row: it stays, whatever becomes of the process. Raises EncodeError for one that does not fit in."""

    def finish(self) -> None:
        """Make the file that was asked for of all rows. Without it they stay where a later run finds them."""

    def close(self) -> None:
        """Let go of it. May be called again."""


def suffix_of(path: str) -> str:
    """The ending that decides what an output is. Raises ConfigError for one that is none of ours."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"--output: expected a file that ends in {', '.join(SUFFIXES)}, got {path!r}")
    return suffix


def open_output(path: str | None, best: Best) -> Output:
    """The output for a path; None for standard output. What it holds already is kept. Raises ConfigError."""
    if path is None:
        from tfs_client.cli.bulk.json_lines import Printed

        return Printed(best)
    suffix = suffix_of(path)
    if suffix == ".jsonl":
        from tfs_client.cli.bulk.json_lines import JsonLines

        return JsonLines(path, best)
    if suffix == ".csv":
        from tfs_client.cli.bulk.csv_table import CsvTable

        return CsvTable(path, best)
    if suffix == ".npz":
        from tfs_client.cli.bulk.npz import NpzArchive

        return NpzArchive(path)
    from tfs_client.cli.bulk.parquet import ParquetFile

    return ParquetFile(path, best)


def files_of(path: str) -> list[str]:
    """What a run into a path may have left: the file itself, what was to become of it, and rows that are not in it yet.

    The last one grows.
    """
    return [path, beside(path), journal_of(path)] if suffix_of(path) in (".npz", ".parquet") else [path]
