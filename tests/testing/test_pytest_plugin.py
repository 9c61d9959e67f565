"""The pytest plugin, as a user's own test suite sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_every_test_has_its_own_server_and_the_last_one_is_stopped(fake_server):
    assert fake_server.calls == []
    assert fake_server.server.port != targets[0]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", targets[0])) != 0
"""

CHECKED = """
import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import faults

pytestmark = pytest.mark.fake_server(strict=True)
SPECS = {"inputs": {"x": TensorSpec("float32", (None,))}, "outputs": {"y": TensorSpec("float32", (None,))}}


def test_unused(fake_server):
    fake_server.add_model("m", **SPECS).expect("m", [1.0])


@pytest.fixture
def expecting(fake_server):
    return fake_server.add_model("m", **SPECS).expect("m", [1.0])


def test_unused_in_a_fixture(expecting):
    assert expecting.used == 0


@pytest.mark.fake_server(strict=False)
def test_not_strict(fake_server):
    fake_server.add_model("m", **SPECS).expect("m", [1.0])


def test_that_fails_anyway(fake_server):
    fake_server.add_model("m", **SPECS).expect("m", [1.0])
    assert fake_server.calls, "the reason"


@pytest.mark.xfail(strict=True)
def test_expected_to_fail(fake_server):
    fake_server.add_model("m", **SPECS).expect("m", [1.0])


@pytest.mark.fake_server(strict=False)
def test_each_transport(fake_server, fake_target):
    fake_server.add_model("m", lambda x: x, **SPECS)
    with PredictClient(fake_target, model="m") as client:
        assert client.predict([1.0]).array.tolist() == [1]
    assert fake_server.calls[0].transport == ("rest" if fake_target.startswith("http") else "grpc")


def test_shared_unused(session_fake_server):
    session_fake_server.add_model("m", **SPECS).expect("m", [1.0])


def test_shared_clean(session_fake_server):
    assert session_fake_server.calls == []
    with PredictClient(session_fake_server.target, model="m") as client:
        session_fake_server.expect("m", [1.0])
        assert client.predict([5.0]).array.tolist() == [1]


@pytest.fixture
def raising(session_fake_server):
    yield
    session_fake_server.strict = True
    raise RuntimeError("a teardown that fails")


@pytest.mark.fake_server(strict=False)
def test_shared_with_a_failing_teardown(session_fake_server, raising):
    session_fake_server.faults.add(faults.Busy())


@pytest.mark.fake_server(strict=False)
def test_shared_after_it(session_fake_server):
    assert session_fake_server.faults.active == ()
    assert not session_fake_server.strict


@pytest.mark.fake_server(stict=True, port=1)
def test_shared_options(session_fake_server):
    pass


@pytest.mark.fake_server(port=0)
def test_shared_beside_an_own_one(session_fake_server, fake_server):
    assert session_fake_server is not fake_server


@pytest.mark.fake_server(check_shapes=False, threads=7)
def test_unknown_option(fake_server):
    pass


@pytest.mark.fake_server(config="models.config")
def test_config_of_another_type(fake_server):
    pass


@pytest.mark.fake_server(8500)
def test_positional_option(fake_server):
    pass


def test_no_model_server(model_server):
    pass
"""

WORKERS = """
import os

import pytest

from tfs_client import PredictClient, TensorSpec

VECTOR = TensorSpec("float32", (None,))


@pytest.mark.parametrize("number", range(8))
def test_workers_have_their_own_servers(session_fake_server, number):
    assert int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) == 2
    if number % 4 == 0 or not session_fake_server.server.manager.served_names():
        name = f"m{number}"
        session_fake_server.add_model(name, lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    name = sorted(session_fake_server.server.manager.served_names())[0]
    with PredictClient(session_fake_server.target, model=name) as client:
        assert client.predict([1.0]).array.tolist() == [2]
    assert len(session_fake_server.calls) == 1


@pytest.mark.fake_server(port=18700)
def test_fixed_port(fake_server):
    pass


@pytest.mark.xdist_group("port 18701")
@pytest.mark.fake_server(port=18701)
def test_fixed_port_in_a_group(fake_server):
    assert fake_server.target.endswith(":18701")
"""

UNITTEST = """
import contextlib
import unittest

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


class Case(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.server = stack.enter_context(FakeServer(strict=True))
        self.server.add_model("m", inputs={"x": VECTOR}, outputs={"y": VECTOR})
        self.client = stack.enter_context(PredictClient(self.server.target, model="m"))
        self.server.expect("m", [2.0])

    def test_pass(self):
        self.assertEqual(self.client.predict([1.0]).array.tolist(), [2.0])

    def test_fail(self):
        pass
"""

LAZY = """
import sys


def test_the_plugin_itself_imports_nothing_heavy():
    assert "tfs_client.testing.pytest_plugin" in sys.modules
    heavy = {"grpc", "google.protobuf", "httpx", "PIL", "numpy"} & set(sys.modules)
    assert not heavy, heavy
"""


def run(tmp_path, text, *arguments):
    write(tmp_path, "test_suite.py", text)
    environment = os.environ | {
        "PYTHONPATH": str(Path(tfs_client.__file__).parents[1]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PATH": str(tmp_path),  # neither tensorflow_model_server nor docker
    }
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--strict-markers"]
    command += arguments
    command += ["-p", "tfs_client.testing.pytest_plugin", "--rootdir", str(tmp_path), str(tmp_path)]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_fixture_gives_every_test_a_running_server(tmp_path):
    done = run(tmp_path, SUITE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_suite_without_the_fixture_has_no_overhead(tmp_path):
    done = run(tmp_path, LAZY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_strict_servers_fail_the_tests_that_leave_something(tmp_path):
    done = run(tmp_path, CHECKED, "-rA")
    outcomes = {
        line.split(" - ")[0].rpartition("::")[2]: line.split()[0]
        for line in done.stdout.splitlines()
        if line.split(" ")[0] in ("PASSED", "FAILED", "ERROR", "XFAIL")
    }
    assert outcomes == {
        "test_unused": "FAILED",
        "test_unused_in_a_fixture": "FAILED",
        "test_not_strict": "PASSED",
        "test_that_fails_anyway": "FAILED",
        "test_expected_to_fail": "XFAIL",
        "test_each_transport[grpc]": "PASSED",
        "test_each_transport[rest]": "PASSED",
        "test_shared_unused": "FAILED",
        "test_shared_clean": "PASSED",
        "test_shared_with_a_failing_teardown": "ERROR",
        "test_shared_after_it": "PASSED",
        "test_shared_options": "ERROR",
        "test_shared_beside_an_own_one": "PASSED",
        "test_unknown_option": "ERROR",
        "test_config_of_another_type": "ERROR",
        "test_positional_option": "ERROR",
    }, done.stdout
    assert (
        "found unused expectations (1)\nunused expectations:\n"
        "  1. call of model 'm' signature 'serving_default', used 0 of 1 time\n"
    ) in done.stdout
    assert "During handling of the above exception" not in done.stdout
    assert "the reason" in done.stdout
    assert "@pytest.mark.fake_server: FakeServer.__init__() got an unexpected keyword argument 'threads'" in done.stdout
    assert "@pytest.mark.fake_server: session_fake_server takes strict, got stict, port; use fake_server" in done.stdout
    assert "expected config=ServerConfig(...), got 'models.config'" in done.stdout
    assert "@pytest.mark.fake_server takes options by name only, got (8500,)" in done.stdout
    assert "found neither tensorflow_model_server nor docker on PATH: install one of them" in done.stdout


@pytest.mark.peer
def test_workers_of_xdist_do_not_meet(tmp_path):
    done = run(tmp_path, WORKERS, "-p", "xdist", "-n", "2", "--dist", "loadgroup")
    assert "9 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "a fake server with a fixed port cannot run in 2 workers of pytest-xdist at the same time" in done.stdout


@pytest.mark.peer
def test_cases_of_unittest_are_checked_by_a_context_manager(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "-v", "test_case.py"],
        cwd=write(tmp_path, "test_case.py", UNITTEST),
        env=os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "FAILED (failures=1)" in done.stderr, done.stderr
    assert "test_pass (test_case.Case" in done.stderr
    assert "unused expectations (1)" in done.stderr
