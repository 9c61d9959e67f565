"""The snippets of docs/scale.md that need an engine run in workers of Ray, Dask and, if it is installed, Spark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text()

SPARK = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
"""


def blocks(*kinds):
    """The snippets of the given kinds, in page order."""
    return re.findall(rf"^(?:```|<!-- )({'|'.join(kinds)})\n(.*?)^(?:```|-->)", PAGE, re.MULTILINE | re.DOTALL)


def program(kind, opening, closing):
    """A program from one engine's snippets and those that need no engine; their comments state the expected output."""
    shown = [block for found, block in blocks("python", kind) if found == "python" or opening in block]
    *first, last = shown
    return "\n".join([*first, closing, last])


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "GRPC_ENABLE_FORK_SUPPORT": "0"} | environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    expected = [re.split(r"[:;] ", said)[0] for said in re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)]
    printed = iter(done.stdout.splitlines())
    for said in expected:
        assert any(line.startswith(said) for line in printed), (said, done.stdout)
    return expected


def test_the_snippet_for_ray_data():
    start = 'import ray\nray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")\n'
    assert len(run(start + program("py", "import ray\n", "ray.shutdown()"))) == 2


def test_the_snippet_for_dask():
    assert len(run(program("py", "import dask", ""))) == 2


@pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark (--group spark) and Java"
)
def test_the_snippet_for_spark():
    assert (
        len(run(SPARK + program("pyspark", "import predict_batch_udf", "spark.stop()"), PYSPARK_PYTHON=sys.executable))
        == 2
    )
