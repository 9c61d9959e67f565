"""Admission: calls that are counted, and refused once it is closed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfs_client import PredictClient, TensorSpec, UnavailableError
from tfs_client.server.access.admission import Admission
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


def settled(admission, quiet=0.02, limit=1.0):
    """How long settling took."""
    began = time.monotonic()
    admission.wait_until_quiet(quiet, limit)
    return time.monotonic() - began


def test_admission_is_open_until_closed_and_can_reopen():
    admission = Admission()
    admission.check()
    admission.close()
    with pytest.raises(UnavailableError, match="the server is stopping"):
        admission.check()
    admission.open()
    admission.check()


def test_settling_ends_at_once_without_traffic():
    admission = Admission()
    with admission:
        pass
    assert settled(admission, quiet=1.0) < 0.5


def test_a_running_call_counts_as_traffic_even_if_it_fails():
    admission = Admission()
    with admission:
        assert settled(admission) >= 0.02
    with pytest.raises(KeyError), admission:
        raise KeyError
    assert settled(admission, quiet=1.0) < 0.5


def test_settling_lasts_while_calls_arrive_but_is_limited():
    admission, busy, done = Admission(), threading.Event(), threading.Event()

    def call():
        calls = 0
        while not done.wait(0.001):
            with admission:
                calls += 1
            if calls == 10:
                busy.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(call)
        try:
            assert busy.wait(20)
            assert 0.2 <= settled(admission, quiet=0.1, limit=0.2) < 2
        finally:
            done.set()


def test_a_stopping_server_refuses_calls(gate):
    with FakeServer() as server, ThreadPoolExecutor(1) as pool:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with PredictClient(server.target, model="slow", timeout=20, retry=None) as client:
            running = client.predict_future({"x": [5.0]})
            assert gate.entered.wait(10)
            server.server._service.admission.close()
            with pytest.raises(UnavailableError, match="the server is stopping"):
                client.predict({"x": [1.0]})
            stopping = pool.submit(server.stop)
            gate.open.set()
            assert running.result(20).array.tolist() == [5]
            stopping.result(20)
