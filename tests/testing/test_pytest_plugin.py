"""The pytest plugin, as a user's own test suite sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tfs_client

SUITE = """
import socket

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer

targets = []


def test_the_fixture_is_a_running_server(fake_server):
    assert isinstance(fake_server, FakeServer)
    vector = TensorSpec("float32", (None,))
    fake_server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
    with PredictClient(fake_server.target, model="double") as client:
        assert client.predict([1.0]).array.tolist() == [2]
    targets.append(fake_server.server.port)


def test_every_test_has_its_own_and_the_last_one_is_stopped(fake_server):
    assert fake_server.calls == []
    assert fake_server.server.port != targets[0]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", targets[0])) != 0
"""

LAZY = """
import sys


def test_the_plugin_itself_imports_nothing_heavy():
    assert "tfs_client.testing.pytest_plugin" in sys.modules
    heavy = {"grpc", "google.protobuf", "httpx", "PIL", "numpy"} & set(sys.modules)
    assert not heavy, heavy
"""


def run(tmp_path, text):
    (tmp_path / "test_suite.py").write_text(text, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(Path(tfs_client.__file__).parents[1]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    command += ["-p", "tfs_client.testing.pytest_plugin", "--rootdir", str(tmp_path), str(tmp_path)]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)


def test_the_fixture_gives_every_test_a_running_server(tmp_path):
    done = run(tmp_path, SUITE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_suite_that_does_not_use_it_does_not_pay_for_it(tmp_path):
    done = run(tmp_path, LAZY)
    assert done.returncode == 0, done.stdout + done.stderr
