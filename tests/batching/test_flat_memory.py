"""However many examples go through predict_many, it needs no more memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("memory_program.py")


def test_memory_stays_flat_over_100_000_examples(models):
    pytest.importorskip("resource", reason="tells the peak memory; not on Windows")
    run = subprocess.run(
        [sys.executable, PROGRAM, models.target], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    early, late, *_ = run.stdout.split()
    models.clear_calls()
    assert int(late) <= 1.05 * int(early)
