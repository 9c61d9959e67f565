"""The sample services pass their own tests, which run as a team would run them: by pytest, in their folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
LIMIT = 240  # seconds for tests that take a tenth of that on an idle machine


@pytest.mark.parametrize("name", ["fastapi_service", "flask_service", "queue_worker"])
def test_a_sample_service_passes_its_tests(name):
    """None is skipped, and each of them ends soon."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "60", "-ra"]
    done = subprocess.run(
        command,
        cwd=ROOT / "examples" / name,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"=+ \d{2,} passed in [\d.]+s.*=+", summary), done.stdout
