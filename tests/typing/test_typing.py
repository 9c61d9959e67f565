"""Documented usage has the types that a user sees, in mypy and in pyright, and mistakes are errors there.

Generated clients pass both checkers in their strict modes, whatever the names of the model are.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import hostile_names
import pytest

from tfs_client.cli.admin.typed_client.module_text import module_text

PROGRAM = Path(__file__).with_name("documented_usage.py")
ROOT = Path(__file__).parents[2]
EXPECTED = {
    number
    for number, line in enumerate(PROGRAM.read_text(encoding="utf-8").splitlines(), start=1)
    if "# expected error: " in line
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A typed client of a model whose names are not identifiers."""
    path = tmp_path_factory.mktemp("typed") / "hostile_model.py"
    path.write_text(module_text(hostile_names.signatures(), "Hostile"))
    return path


def checked(*command: str) -> str:
    run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert run.returncode == 1, run.stdout + run.stderr  # there are errors to report
    return run.stdout


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs the packages of make check")
def test_mypy_infers_the_documented_types(hostile: Path):
    programs = (str(PROGRAM), str(hostile))
    output = checked("mypy", "--strict", "--config-file=", "--no-error-summary", *programs)
    errors = {int(line): text for line, text in re.findall(r"documented_usage\.py:(\d+): error: (.*)", output)}
    assert set(errors) == EXPECTED, output
    assert output.count(": error: ") == len(errors), output


@pytest.mark.skipif(find_spec("pyright") is None, reason="needs the packages of make check")
def test_pyright_infers_the_documented_types(hostile: Path):
    folder = hostile.parent
    for file in (PROGRAM, PROGRAM.with_name("typed_model.py")):
        shutil.copy(file, folder)
    strict = ["typed_model.py", hostile.name]
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps({"include": ["."], "strict": strict, "extraPaths": [str(ROOT)]}))
    found = json.loads(checked("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(config)))
    assert found["summary"]["filesAnalyzed"] == 3
    errors = [one for one in found["generalDiagnostics"] if one["severity"] == "error"]
    assert {Path(one["file"]).name for one in errors} == {PROGRAM.name}, errors
    assert {one["range"]["start"]["line"] + 1 for one in errors} == EXPECTED, errors
