"""Clients in more than one process, and in many threads."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from calling import target_of

from tfs_client import ClosedError, PredictClient

WAYS = ("grpc", "rest")


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def client(way, double):
    with PredictClient(target_of(way, double), model="double", timeout=20) as client:
        yield client


def use(client, value):
    with client:
        return client.predict({"x": [value]}).array.tolist()


def test_a_client_is_pickled_by_its_configuration(client, double, way):
    client.predict({"x": [1.0]})
    with pickle.loads(pickle.dumps(client)) as same:
        assert repr(same) == repr(client)
        assert same.predict({"x": [1.0]}).array.tolist() == [2.0]
    options = {"metadata": {"who": "me"}, "signature": "serving_default", "token": "t", "compression": "gzip"}
    with PredictClient(target_of(way, double), model="double", **options) as other:
        pickled = pickle.dumps(other)
    with pickle.loads(pickled) as again:  # also of a closed one
        again.predict({"x": [1.0]})
    assert double.calls[-1].metadata["who"] == "me"
    assert double.calls[-1].metadata["authorization"] == "Bearer t"
    assert double.calls[-1].signature == "serving_default"


def test_clients_go_to_a_process_pool(client):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(use, [client] * 4, [1.0, 2.0, 3.0, 4.0])) == [[2.0], [4.0], [6.0], [8.0]]
    assert client.predict({"x": [5.0]}).array.tolist() == [10.0]


FORKS = """
import os, sys
from tfs_client import PredictClient

def double(client, value):
    by_future = client.predict_future({"x": [value]}).result(20).array[0]
    return client.predict({"x": [value]}).array[0] == by_future == 2 * value

with PredictClient(sys.argv[1], model="double", timeout=20) as client:
    for _ in range(8):
        assert double(client, 1.0)
        child = os.fork()
        if not child:
            good = double(client, 2.0) and double(client, 3.0)
            client.close()
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert double(client, 4.0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_parent_and_child_both_call_after_each_of_eight_forks(way, double):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", FORKS, target_of(way, double)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_many_threads_call_without_an_error(client):
    x = np.arange(4, dtype=np.float32)

    def call(n):
        return all(np.array_equal(client.predict({"x": x + n + i}).array, 2 * (x + n + i)) for i in range(10))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(call, range(64)))


def test_a_closed_client_stays_closed(client):
    client.close()
    client.close()
    with pytest.raises(ClosedError):
        client.predict({"x": [1.0]})
    with pytest.raises(ClosedError):
        client.predict_future({"x": [1.0]})


def test_importing_it_starts_no_process_of_its_own():
    code = "import json, threading, tfs_client.client, tfs_client.aio; print(json.dumps(threading.active_count()))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == 1
