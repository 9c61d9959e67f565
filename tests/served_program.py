"""tfs-serve as a separate process, and python models for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tcp import free_port

START = 20  # seconds; the limit for every wait

SCALE = """
    from tfs_client import TensorSpec
    from tfs_client.server import FunctionSignature

    VECTOR = TensorSpec("float32", (None,))


    def signatures(path):
        return {"serving_default": FunctionSignature(lambda x: {"y": FACTOR * x}, {"x": VECTOR}, {"y": VECTOR})}


    FACTOR = FACTOR_HERE
"""


def put(base: Path, version: int, code: str) -> None:
    """Create a version of a python model; a rename makes it appear in its base path atomically."""
    base.mkdir(parents=True, exist_ok=True)
    hidden = base.parent / f".{base.name}-{version}"
    hidden.mkdir()
    (hidden / "servable.py").write_text(textwrap.dedent(code))
    hidden.rename(base / str(version))


def put_scale(base: Path, version: int, factor: float) -> None:
    """Create a version that multiplies by ``factor``."""
    put(base, version, SCALE.replace("FACTOR_HERE", str(factor)))


def write_config(file: Path, *bases: Path) -> None:
    """Write a model config file of python models, atomically."""
    models = "".join(
        f'config {{ name: "{base.name}" base_path: "{base}" model_platform: "python" }}\n' for base in bases
    )
    hidden = file.with_name(f".{file.name}")
    hidden.write_text(f"model_config_list {{\n{models}}}\n")
    hidden.rename(file)


class Program:
    """A process that runs tfs-serve in a folder. Always ``close`` it.

    Args:
        arguments: flags, except for those of the ports.
        rest: whether to open a REST port.
        port: the gRPC port, 0 for none; a free one by default.
        ready: the log line to wait for; by default, that it serves.
        process: other arguments of subprocess.Popen.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        rest: bool = False,
        port: int | None = None,
        ready: str = "",
        **process: Any,
    ) -> None:
        self.port = free_port() if port is None else port
        self.rest_port = free_port() if rest else 0
        self._log, self._out = folder / "stderr", folder / "stdout"
        command = [sys.executable, "-m", "tfs_client.cli.serve", f"--port={self.port}"]
        command += [f"--rest_api_port={self.rest_port}", *arguments]
        # Modules of the peer tests set TF_CPP_MIN_LOG_LEVEL for the process of the tests; here the log is read.
        env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        with open(self._log, "wb") as log, open(self._out, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, cwd=folder, env=env, **process)
        try:
            self.until_logged(ready or ("Exporting HTTP/REST API at:" if rest else "Running gRPC ModelServer at "))
        except BaseException:
            self.close()
            raise

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def log(self) -> str:
        """The standard error so far."""
        return self._log.read_text()

    @property
    def out(self) -> str:
        """The standard output so far."""
        return self._out.read_text()

    def until_logged(self, text: str) -> None:
        until(lambda: text in self.log, lambda: self.process.poll() is None, lambda: f"{self.out}\n{self.log}")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        return self.process.wait(START)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(START)


def until(
    predicate: Callable[[], bool], alive: Callable[[], bool] = lambda: True, output: Callable[[], str] = lambda: ""
) -> None:
    """Wait until the predicate is true."""
    end = time.monotonic() + START
    while not predicate():
        assert alive(), f"the process has ended: {output()}"
        assert time.monotonic() < end, f"timeout: {output()}"
        time.sleep(0.02)
