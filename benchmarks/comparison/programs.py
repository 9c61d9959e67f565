"""ClientProgram: a client library in its own process, driven by lines of JSON (``clients/program.py``)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent
PATIENCE = 180.0  # seconds for one answer; importing TensorFlow takes several, a large slow call too


class UnsupportedError(Exception):
    """The library cannot do what was asked, with the reason."""


class ProgramError(Exception):
    """A client program failed, with what it said."""


class ClientProgram:
    """A running client program. Raises ProgramError if it does not start."""

    def __init__(self, python: str, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._rest = b""
        self._process = subprocess.Popen(
            [python, "-m", f"comparison.clients.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=BENCHMARKS,
            env=environment,
            bufsize=0,
        )
        try:
            self.hello = self._answer()
        except ProgramError:
            self.close()
            raise

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command; returns its answer. Raises UnsupportedError and ProgramError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
        except BrokenPipeError:
            raise ProgramError(f"the program ended: {self._said()}") from None
        answer = self._answer()
        if "unsupported" in answer:
            raise UnsupportedError(answer["unsupported"])
        if "failed" in answer:
            raise ProgramError(answer["failed"])
        return answer

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
                self._process.kill()
                raise ProgramError(f"no answer within {PATIENCE:.0f} s: {self._said()}")
            if not (read := os.read(self._process.stdout.fileno(), 1 << 20)):
                raise ProgramError(f"the program ended: {self._said()}")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _said(self) -> str:
        """The last lines of its standard error."""
        self._log.seek(0)
        return " | ".join(self._log.read().decode(errors="replace").strip().splitlines()[-3:])[-500:]
