"""Run the benchmarks' servers in separate processes, so that they do not share an interpreter with the client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def started(script: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run a script that serves until its standard input ends; yields its process and the words of its first line."""
    command = [sys.executable, script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            process.stdin.close()
