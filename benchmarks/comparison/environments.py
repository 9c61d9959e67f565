"""Environments: the Python of each client library. The peers' packages do not meet tfs_client's, nor each other's."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".venv-bench"
PYTHONS = (sys.executable, "python3.12", "python3.11", "python3.10", "python3.13")  # the first that installs is used

PATIENCE = 1800  # seconds for an installation

# With Pillow for the row "one JPEG"; it does not count as a part of the libraries.
REQUIREMENTS = {
    "tensorflow": ("tensorflow-serving-api", "tensorflow", "pillow"),
    "ovmsclient": ("ovmsclient", "pillow"),
    "tritonclient": ("tritonclient[grpc]",),
}
_IMPORTS = {
    "tensorflow": "PIL, tensorflow, tensorflow_serving.apis.prediction_service_pb2_grpc",
    "ovmsclient": "ovmsclient, PIL",
    "tritonclient": "tritonclient.grpc.aio",
}


class MissingError(Exception):
    """An environment cannot be made, with the reason."""


@functools.cache
def python_of(name: str) -> str:
    """The Python of an environment; one that is missing is made in ``.venv-bench``.

    "base" is the Python that runs the harness. TensorFlow's is that of ``make test-peers``, if it is there.

    Raises MissingError if no Python of this machine can install and import the packages.
    """
    if name == "base":
        return sys.executable
    folder = FOLDER / name
    for made in (ROOT / ".venv-peers", folder) if name == "tensorflow" else (folder,):
        python = made / "bin" / "python"
        if python.exists() and _failure([str(python), "-c", f"import {_IMPORTS[name]}"]) is None:
            return str(python)
    reasons = []
    for python_name in dict.fromkeys(filter(None, map(shutil.which, PYTHONS))):
        print(f"installing {', '.join(REQUIREMENTS[name])} with {python_name}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin" / "python"
        reason = (
            _failure([python_name, "-m", "venv", str(folder)])
            or _failure([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]])
            or _failure([str(python), "-c", f"import {_IMPORTS[name]}"])
        )
        if reason is None:
            return str(python)
        reasons.append(f"{python_name}: {reason}")
    shutil.rmtree(folder, ignore_errors=True)
    raise MissingError("; ".join(reasons))


def variables(name: str, tree: Path | None = None) -> dict[str, str]:
    """The environment variables of a program.

    In the base environment, PYTHONPATH begins with this checkout or with ``tree``; peers must not see either.
    """
    found = dict(os.environ)
    if tree is not None:
        found["PYTHONPATH"] = str(tree)
    elif name != "base":
        found.pop("PYTHONPATH", None)
    return found


def _failure(command: list[str]) -> str | None:
    """Run a command of a peer; returns why it failed, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=variables("peer"))
    except subprocess.TimeoutExpired:
        return f"not done within {PATIENCE} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
