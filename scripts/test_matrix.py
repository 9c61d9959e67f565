"""Run the base tests with each supported major version of protobuf, and once with the oldest grpcio and numpy.

Each combination gets an environment of its own under .venv-matrix/, which is kept for the next run.

    python scripts/test_matrix.py [name ...]
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COMBINATIONS = {
    "protobuf-4.25": ["protobuf==4.25.*"],
    "protobuf-5.29": ["protobuf==5.29.*"],
    "protobuf-6.33": ["protobuf==6.33.*"],
    "protobuf-7": ["protobuf==7.*"],
    "oldest": ["protobuf==4.25.0", "grpcio==1.60.0", "numpy==1.24.0", "httpx==0.25.0", "pillow==9.2.0"],
}


def prepare(name: str) -> Path:
    """The interpreter of an environment with the package, the test tools, and this combination on top."""
    home = ROOT / ".venv-matrix" / name
    python = home / "bin" / "python"
    stamp = home / ".ready"
    project = (ROOT / "pyproject.toml").read_text()
    if not stamp.exists() or stamp.read_text() != project:  # what is needed may have changed
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        pins = home / "pins.txt"
        pins.write_text("\n".join(COMBINATIONS[name]))
        subprocess.run(
            [*pip, "--editable", str(ROOT), "--group", f"{ROOT / 'pyproject.toml'}:test", "--constraint", str(pins)],
            check=True,
        )
        stamp.write_text(project)
    return python


def main() -> int:
    names = sys.argv[1:] or list(COMBINATIONS)
    failed = []
    for name in names:
        print(f"--- {name}: {', '.join(COMBINATIONS[name])}", flush=True)
        pytest = ["-m", "pytest", "-q", "-m", "not peer", "--numprocesses", "auto", "--dist", "loadfile"]
        run = subprocess.run([str(prepare(name)), *pytest], cwd=ROOT, check=False)
        if run.returncode:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else f"passed: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
