"""The worker as a process: killed midway, and stopped by SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LIMIT
from digit_models import add_digits, brightest_row
from test_worker import add_pictures, answers, wait_until

FOLDER = Path(__file__).parent.parent


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker process for the queue of this test. It is killed after the test, if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(target: str, **settings: object) -> subprocess.Popen[str]:
        values = {"queue": tmp_path / "jobs.sqlite3", "target": target, "poll": 0.05, "batch_size": 2, "receive": 8}
        environment = {f"DIGITS_{name.upper()}": str(value) for name, value in {**values, **settings}.items()}
        command = [sys.executable, "-m", "digit_worker"]
        started.append(
            subprocess.Popen(command, cwd=FOLDER, env=os.environ | environment, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT)


class Gate:
    """A model that answers as many requests as it is allowed to."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def __call__(self, signature, inputs):
        """Answer one request."""
        self.entered.release()
        assert self.allowed.acquire(timeout=LIMIT)
        return brightest_row(signature, inputs)

    def open(self) -> None:
        """Let all requests pass."""
        self.allowed.release(100_000)


@pytest.fixture
def gate(fake_server) -> Iterator[Gate]:
    """The model of the fake server."""
    model = Gate()
    add_digits(fake_server, model)
    yield model
    model.open()


def test_a_killed_worker_loses_no_job(fake_server, gate, queue, start_worker):
    expected = add_pictures(queue, 30)
    gate.allowed.release(3)
    process = start_worker(fake_server.target)
    wait_until(queue.results)
    assert gate.entered.acquire(timeout=LIMIT)
    process.kill()
    process.wait(LIMIT)
    assert 0 < len(queue.results()) < 30
    assert {**queue.results(), **queue.waiting()}.keys() == expected.keys()

    queue._database.execute("UPDATE jobs SET visible = 0")  # the leases end
    gate.open()
    start_worker(fake_server.target)
    wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert queue.dead_letters() == {}


def test_workers_that_are_killed_again_and_again_lose_no_job(digits, queue, start_worker):
    expected = add_pictures(queue, 300)
    for _ in range(4):
        before = len(queue.results())
        process = start_worker(digits.target, max_tries=100, lease=0.5)
        wait_until(lambda before=before: len(queue.results()) > before or not queue.waiting())
        process.kill()
        process.wait(LIMIT)
    start_worker(digits.target, max_tries=100, lease=0.5)
    start_worker(digits.target, max_tries=100, lease=0.5)
    wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert queue.dead_letters() == {}


def test_a_worker_that_is_asked_to_stop_finishes_its_requests_and_returns_the_rest(
    fake_server, gate, queue, start_worker
):
    expected = add_pictures(queue, 20)
    process = start_worker(fake_server.target)
    for _ in range(2):  # requests of two jobs each, under way at the same time
        assert gate.entered.acquire(timeout=LIMIT)
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    gate.open()
    assert process.wait(LIMIT) == 0
    done = answers(queue)
    assert 4 <= len(done) <= 8
    assert done.items() <= expected.items()
    assert queue.waiting() == {name: 0 for name in expected if name not in done}
    assert len(queue.receive(100, lease=60)) == 20 - len(done), "the rest can be received at once"
    assert queue.dead_letters() == {}


@pytest.mark.parametrize("down", [True, False])
def test_a_worker_that_waits_stops_at_once(digits, start_worker, down):
    process = start_worker("127.0.0.1:9" if down else digits.target)
    assert process.stderr is not None
    for line in process.stderr:
        if ("is not served" if down else "working") in line:
            break
    process.terminate()
    assert process.wait(LIMIT) == 0
    assert "Traceback" not in process.stderr.read()
