"""The snippets of docs/observability.md for OpenTelemetry and Prometheus run, and print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()


@pytest.mark.parametrize("section", ["OpenTelemetry", "Prometheus"])
def test_the_snippet_of_a_section_prints_what_its_comment_says(section):
    opening = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]  # starts the server
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (snippet,) = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    expected = re.findall(r"(?:\)  |^)# (\S.*)$", snippet, re.MULTILINE)[-1]
    ran = subprocess.run(
        [sys.executable, "-c", f"{opening}{snippet}server.stop()"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[3:] == [expected]  # after the lines of the first example
