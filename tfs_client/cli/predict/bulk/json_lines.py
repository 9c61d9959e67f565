"""JSON lines: one row per line, for each picture or each detection."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from tfs_client.cli.json_output import dumps
from tfs_client.cli.predict import report
from tfs_client.cli.predict.bulk.answer_rows import detection_rows
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.damaged_outputs import damaged
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.row_groups import RowError, RowGroups
from tfs_client.images import Answer, Detections


def lines(row: Row, answer: Answer | None) -> str:
    """Return a row as ``--json`` prints a prediction, plus the picture's name, minus the times.

    Detections are a row each, without the outputs, which the rows of a picture would repeat.
    """
    first: dict[str, object] = {
        "image": row.image,
        "model": row.model.name,
        "version": row.model.version,
        "signature": row.model.signature or "serving_default",
    }
    if isinstance(answer, Detections):
        return "".join(f"{dumps({**first, **found})}\n" for found in _detections(answer))
    outputs = report.outputs_for_machines(row.outputs)
    return dumps({**first, **report.answer_for_machines(answer), "outputs": outputs}) + "\n"


def _detections(answer: Detections) -> Iterator[dict[str, object]]:
    for row in detection_rows(answer):
        yield {
            "task": "detect",
            "number": row.number,
            "count": row.count,
            "label": row.label,
            "class": row.class_,
            "score": row.score,
            "box": None if row.box is None else list(row.box),
        }


class StandardOutput:
    """Rows on standard output."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.has_answers: bool = True

    def add(self, row: Row, answer: Answer | None) -> None:
        """Print a row, or one for each detection."""
        sys.stdout.write(lines(row, answer))
        sys.stdout.flush()

    def finish(self) -> None:
        """Do nothing: all rows are printed."""

    def close(self) -> None:
        """Do nothing: standard output stays open."""


ROW_START = b'{"image": '


def _incomplete(text: bytes) -> bool:
    """Whether a crash can have left this text: the start of a row, or the zeros that file systems put in its place."""
    return text[: len(ROW_START)] == ROW_START[: len(text)] or not text.strip(b"\0")


class JsonLines:
    """Rows in a file; see ``outputs.Output``."""

    def __init__(self, path: str) -> None:
        self._file = AppendFile(path, follow_link=True)
        self.held: set[str] = self._file.resume(self._read)
        self.has_answers: bool = True

    def _read(self) -> tuple[set[str], int]:
        """Read the names of the pictures, and the end of the last whole line or group of lines."""
        groups = RowGroups()
        end = 0
        with self._file.content() as content:
            for number, text in enumerate(content, 1):
                if not text.endswith(b"\n") and _incomplete(text):
                    break
                try:
                    row = json.loads(text)
                    if not isinstance(row["image"], str):
                        raise TypeError("the name of a picture is not text")
                    end += len(text)
                    at, count = (row["number"], row["count"]) if row.get("task") == "detect" else (1, 1)
                    groups.add(row["image"], at, count, end)
                except Exception as error:  # also for JSON that is nested too deeply, and numbers that are too long
                    reason = f": {error}" if isinstance(error, RowError) else ""
                    problem = f"line {number} is not a row of tfs-predict{reason}"
                    raise damaged(self._file.path, "list of rows", problem) from error
        return groups.held, groups.end

    def add(self, row: Row, answer: Answer | None) -> None:
        """Append a row, or one for each detection."""
        self._file.add(lines(row, answer).encode())

    def finish(self) -> None:
        """Do nothing: the file is complete after every row."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
