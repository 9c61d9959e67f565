"""predict_many needs the same memory for any number of examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("memory_program.py")


@pytest.mark.parametrize(
    ("count", "values", "batch_size", "slack"),
    [(100_000, 4, 500, 0), (800, 1 << 14, 10, 16_000)],  # KB; an example has 64 KB, so requests that remain take 47,000
    ids=["100,000 examples", "large requests"],
)
def test_memory_stays_flat(models, count, values, batch_size, slack):
    pytest.importorskip("resource", reason="measures the peak memory; missing on Windows")
    arguments = map(str, (count, values, batch_size))
    run = subprocess.run(
        [sys.executable, PROGRAM, models.target, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    early, late, *_ = run.stdout.split()
    models.clear_calls()
    assert int(late) <= 1.05 * int(early) + slack
