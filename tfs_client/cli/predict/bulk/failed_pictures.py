"""The list of failed pictures, each with its error."""

from __future__ import annotations

import json
import os
from contextlib import closing

from tfs_client.cli import exits
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.outcomes import Failed


class FailureList:
    """Failures as JSON lines in a file; without a path, as lines on standard error.

    An existing file is removed; ``output_checks`` has made sure that it is a list of failures. A run tries the failures
    of earlier runs again, so the list only covers this run. Without failures, no file is created.

    Attributes:
        path: the file; None without one.
        count: the number of failures.
        first: the first failure; None without any.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.count: int = 0
        self.first: Failed | None = None
        self._file: AppendFile | None = None
        if path is not None and os.path.lexists(path):
            with closing(AppendFile(path)):  # raises if another run is writing it
                os.unlink(path)

    def add(self, failed: Failed) -> None:
        """Add a failure."""
        self.count += 1
        self.first = self.first or failed
        if self.path is None:
            exits.show_error("tfs-predict", f"{failed.image}: {failed.text}", exits.INCOMPLETE)
            return
        if self._file is None:
            self._file = AppendFile(self.path)
            self._file.keep(0)
        line = {"image": failed.image, "error": type(failed.error).__name__, "text": failed.text}
        self._file.add(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
