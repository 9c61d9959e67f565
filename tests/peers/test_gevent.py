"""The client in programs that gevent has patched: greenlets wait at the same time, over gRPC and REST."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading

import pytest

from tfs_client import TensorSpec
from tfs_client.testing import FakeServer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed"),
]

LIMIT = 60  # seconds for programs that take less than three on an idle machine
VECTOR = TensorSpec("float32", (None,))
START = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
if sys.argv[1].startswith("127"):
    from grpc.experimental.gevent import init_gevent; init_gevent()
from tfs_client import DeadlineExceededError, MicroBatcher, PredictClient
client = PredictClient(sys.argv[1], model="double", timeout=30)
"""
CALLS = """
greenlets = [gevent.spawn(client.predict, [float(n)]) for n in range(4)]
gevent.joinall(greenlets, raise_error=True)
print([float(each.value.array[0]) for each in greenlets])
"""
FUTURES = """
futures = [client.predict_future([float(n)]) for n in range(4)]
print([float(each.result().array[0]) for each in futures])
"""
MICRO = """
with MicroBatcher(client, max_batch_size=1, in_flight=4) as batcher:
    greenlets = [gevent.spawn(batcher.predict, {"x": float(n)}) for n in range(4)]
    gevent.joinall(greenlets, raise_error=True)
print([float(each.value["y"]) for each in greenlets])
"""
MANY = """
answers = client.predict_many([{"x": float(n)} for n in range(4)], batch_size=1, in_flight=4)
print([float(each["y"]) for each in answers])
"""
LIMITS = """
print(gevent.with_timeout(0.2, client.predict, [1.0], timeout_value="given up"))
greenlet = gevent.spawn(client.predict, [1.0])
gevent.sleep(0.05)
greenlet.kill(timeout=10)
print(greenlet.dead)
try:
    client.predict([1.0], timeout=0.2)
except DeadlineExceededError:
    print("too late")
"""


@pytest.fixture
def run(tmp_path):
    """Run a program with the address of a server; returns what it printed."""

    def run_program(program: str, target: str) -> list[str]:
        path = tmp_path / "program.py"
        path.write_text(START + program + "client.close()\n")
        command = [sys.executable, str(path), target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run_program


@pytest.fixture(params=["grpc", "rest"])
def target(fake_server: FakeServer, request: pytest.FixtureRequest) -> str:
    """The address of the fake server: gRPC first, then REST."""
    return fake_server.target if request.param == "grpc" else fake_server.rest_url


@pytest.mark.parametrize("program", [CALLS, FUTURES, MICRO, MANY], ids=["calls", "futures", "micro batches", "many"])
def test_four_calls_are_under_way_at_the_same_time(fake_server, target, run, program):
    together = threading.Barrier(4)

    def double(x):
        together.wait(LIMIT)
        return 2 * x

    fake_server.add_model("double", double, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    assert run(program, target) == ["[0.0, 2.0, 4.0, 6.0]"]


def test_calls_end_by_gevents_timeout_by_kill_and_at_the_deadline(fake_server, target, run):
    release = threading.Event()

    def wait(x):
        assert release.wait(LIMIT)
        return x

    fake_server.add_model("double", wait, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    try:
        assert run(LIMITS, target) == ["given up", "True", "too late"]
    finally:
        release.set()
