"""SupervisedProcess: a server process that does not outlive the test run, with its output in a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tfs_client.testing.model_server import supervisor

STOP = supervisor.GRACE + supervisor.CLEANUP + 5.0  # seconds after which the supervisor itself must have ended
LONGEST_LOG = 1 << 20  # bytes that are read from the end of the log


class SupervisedProcess:
    """A process under ``supervisor.py``, in a separate process group.

    Args:
        command: the program and its arguments.
        cleanup: a command to run when it has ended; empty: none.
        directory: a directory of the process, which is removed at its end.
    """

    def __init__(self, command: Sequence[str], cleanup: Sequence[str], directory: Path) -> None:
        self._directory = directory
        job = {"command": [*command], "cleanup": [*cleanup], "directory": str(directory)}
        log = directory / "log"
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reader = open(log, "rb")  # noqa: SIM115  it stays readable when the directory is gone
        self._last_log = ""

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """Return what it has written so far; of a long log the last part."""
        if self._reader.closed:
            return self._last_log
        size = self._reader.seek(0, 2)
        self._reader.seek(max(0, size - LONGEST_LOG))
        return self._reader.read(LONGEST_LOG).decode(errors="replace")

    def stop(self) -> None:
        """End the process and those that it has started, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._last_log = self.log()
        self._reader.close()
        shutil.rmtree(self._directory, ignore_errors=True)
