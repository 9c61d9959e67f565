"""JSON lines: a row is an object in a line of its own."""

from __future__ import annotations

import json
import sys

from tfs_client.cli import report
from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.damage import damaged
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Row
from tfs_client.cli.json_output import dumps


def line(row: Row, best: Best) -> str:
    """A row as what ``--json`` prints of a prediction, with the picture's name and without the times."""
    found = {
        "image": row.image,
        "model": row.model.name,
        "version": row.model.version,
        "signature": row.model.signature or "serving_default",
        "top": [{"label": label, "score": score} for label, score in best.of(row.outputs)],
        "outputs": report.outputs_for_machines(row.outputs),
    }
    return dumps(found) + "\n"


class Printed:
    """Rows on standard output."""

    def __init__(self, best: Best) -> None:
        self.held: set[str] = set()
        self._best = best

    def add(self, row: Row) -> None:
        """Print it."""
        sys.stdout.write(line(row, self._best))
        sys.stdout.flush()

    def finish(self) -> None:
        """Everything is printed."""

    def close(self) -> None:
        """It is not ours."""


BEGIN = b'{"image": '


def _torn(text: bytes) -> bool:
    """Whether it is the beginning of a row that was being written, or what a file system makes of one."""
    return text[: len(BEGIN)] == BEGIN[: len(text)] or not text.strip(b"\0")


class JsonLines:
    """Rows in a file; see ``outputs.Output``."""

    def __init__(self, path: str, best: Best) -> None:
        self._best = best
        self._file = GrowingFile(path, given=True)
        try:
            self.held, end = self._read()
            self._file.keep(end)
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> tuple[set[str], int]:
        """The names in it, and where its last whole line ends."""
        held: set[str] = set()
        end = 0
        with self._file.content() as content:
            for number, text in enumerate(content, 1):
                if not text.endswith(b"\n") and _torn(text):
                    break
                try:
                    image = json.loads(text)["image"]
                    if not isinstance(image, str):
                        raise TypeError("the name of a picture is text")
                except Exception as error:  # also for lists that are too deep and numbers that are too long
                    told = f"line {number} is not a row of tfs-predict"
                    raise damaged(self._file.path, "list of rows", told) from error
                held.add(image)
                end += len(text)
        return held, end

    def add(self, row: Row) -> None:
        """Add its line."""
        self._file.add(line(row, self._best).encode())

    def finish(self) -> None:
        """The file is whole after every row."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
