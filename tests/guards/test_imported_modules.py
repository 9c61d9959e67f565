"""The modules that a program imports: each costs time at every start."""

from __future__ import annotations

import subprocess
import sys

# Modules that few programs need, or that take long to import.
RARE = {
    "IPython",
    "PIL",
    "csv",
    "decimal",
    "google.protobuf",
    "hashlib",
    "httpx",
    "json",
    "opentelemetry",
    "pandas",
    "prometheus_client",
    "rich",
    "selectors",
    "starlette",
    "tomllib",
    "unittest",
    "uuid",
    "uvicorn",
}
# What a prediction imports besides the package, grpc and numpy; in some versions, numpy imports part of it.
COMMON = {"copy", "dataclasses", "ipaddress", "urllib", "urllib.parse", "zlib"}
PREDICTION = """
import tfs_client
with tfs_client.PredictClient({target!r}, model="m", timeout=30) as client:
    assert client.predict({{"x": numpy.float32([1])}}).array.tolist() == [[1, 2]]
"""
HELP = """
from tfs_client.cli.predict.command import main
sys.argv = ["tfs-predict", "--help"]
try:
    main()
except SystemExit:
    pass
"""


def imported(program, before=""):
    """The modules that a program imports in addition to those that it imports ``before``."""
    lines = ["import sys", before, "before = set(sys.modules)", program]
    source = "\n".join([*lines, "print(*set(sys.modules) - before)"])
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.splitlines()[-1].split())


def own(modules):
    return {name for name in modules if name.partition(".")[0] == "tfs_client"}


def test_importing_the_package_imports_nothing_else():
    modules = imported("import tfs_client")
    assert own(modules) == {"tfs_client"}
    assert not modules & (RARE | {"asyncio", "grpc", "numpy"})


def test_a_first_prediction_imports_little_besides_grpc_and_numpy(fixed):
    modules = imported(PREDICTION.format(target=fixed.target), before="import grpc, numpy")
    assert not modules & RARE
    assert len(own(modules)) <= 107
    assert {name for name in modules - own(modules) if not name.startswith("grpc.")} <= COMMON


def test_the_help_of_tfs_predict_imports_no_client():
    modules = imported(HELP, before="import numpy")  # which imports some of the rare modules in some versions
    assert not modules & (RARE | {"asyncio", "grpc", "ssl"})
    assert len(own(modules)) <= 56
