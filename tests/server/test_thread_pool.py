"""The threads of the server: up to their maximum, and none delays exit."""

import subprocess
import sys
import threading
import time

import pytest

from tfs_client.server.thread_pool import ThreadPool

SOON = 10  # seconds


def test_functions_run_in_up_to_the_maximum_of_threads():
    pool = ThreadPool(3, "test")
    running = threading.Semaphore(0)
    go_on = threading.Event()

    def work(number):
        running.release()
        assert go_on.wait(SOON)
        return number

    futures = [pool.submit(work, number) for number in range(8)]
    assert all(running.acquire(timeout=SOON) for _ in range(3))
    assert pool.waiting() == 5
    assert not running.acquire(timeout=0.05)
    go_on.set()
    assert [future.result(SOON) for future in futures] == list(range(8))
    assert pool.waiting() == 0
    pool.shutdown()


def test_an_idle_thread_runs_the_next_function():
    pool = ThreadPool(8, "test")
    names = {pool.submit(threading.current_thread).result(SOON).name for _ in range(20)}
    assert len(names) <= 2  # a thread may be given its next function before it is seen to be idle
    pool.shutdown()


def test_errors_of_every_kind_are_set_on_the_future():
    pool = ThreadPool(1, "test")
    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt()):

        def fail(error=error):
            raise error

        with pytest.raises(type(error)):
            pool.submit(fail).result(SOON)
    assert pool.submit(len, "abc").result(SOON) == 3
    pool.shutdown()


def test_a_pool_that_is_shut_down_accepts_nothing_and_can_drop_waiting_work():
    pool = ThreadPool(1, "test")
    go_on = threading.Event()
    first = pool.submit(go_on.wait, SOON)
    waiting = pool.submit(len, "abc")
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError):
        pool.submit(len, "abc")
    assert waiting.cancelled()
    go_on.set()
    assert first.result(SOON)
    pool.shutdown()


PROGRAM = """
import sys, time
import numpy as np
from tfs_client import DeadlineExceededError, PredictClient, TensorSpec
from tfs_client.testing import FakeServer

X = TensorSpec("float32", (None,))
with FakeServer({grace}) as server:
    server.add_model("hung", lambda x: (time.sleep(60), x)[1], inputs={{"x": X}}, outputs={{"y": X}})
    for target in (server.target, server.rest_url):
        with PredictClient(target, model="hung", timeout=0.3) as client:
            try:
                client.predict({{"x": np.float32([1])}})
            except DeadlineExceededError:
                print("late")
    sys.exit(3)
"""


def test_a_model_that_never_returns_does_not_block_exit():
    program = PROGRAM.format(grace="config=ServerConfig(shutdown_grace=0)")
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", "from tfs_client.server import ServerConfig\n" + program],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (ended.returncode, ended.stdout.split()) == (3, ["late", "late"]), ended.stderr
    assert time.monotonic() - began < 30
