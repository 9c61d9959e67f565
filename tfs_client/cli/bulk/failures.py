"""Failures: the pictures that have no row, each with the reason, in a file of their own."""

from __future__ import annotations

import json
import os
from contextlib import closing

from tfs_client.cli import exits
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Failed


class Failures:
    """Lists failures as JSON lines; without a path they are said on standard error.

    What is already there is removed; ``consent`` has seen to it that it may be. The file tells of one run: a failure
    of an earlier one is tried again, and listed again if it is one still. There is no file when nothing fails.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.count = 0
        self._file: GrowingFile | None = None
        if path is not None and os.path.lexists(path):
            with closing(GrowingFile(path)):  # unless another run is writing it
                os.unlink(path)

    def add(self, failed: Failed) -> None:
        """List one."""
        self.count += 1
        if self.path is None:
            exits.said("tfs-predict", f"{failed.image}: {failed.text}", exits.INCOMPLETE)
            return
        if self._file is None:
            self._file = GrowingFile(self.path)
            self._file.keep(0)
        line = {"image": failed.image, "error": type(failed.error).__name__, "text": failed.text}
        self._file.add(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._file is not None:
            self._file.close()
