"""Clients in more than one process: they are pickled by their configuration."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tfs_client import ClosedError, PredictClient


def use(client, value):
    with client:
        return client.predict({"x": [value]}).array.tolist()


def test_a_client_is_pickled_by_its_configuration(client, double):
    client.predict({"x": [1.0]})
    with pickle.loads(pickle.dumps(client)) as same:
        assert repr(same) == repr(client)
        assert same.predict({"x": [1.0]}).array.tolist() == [2.0]
    with PredictClient(double.target, model="double", metadata={"who": "me"}, signature="serving_default") as other:
        pickled = pickle.dumps(other)
    with pickle.loads(pickled) as again:  # also of a closed one
        again.predict({"x": [1.0]})
    assert double.calls[-1].metadata["who"] == "me"
    assert double.calls[-1].signature == "serving_default"


def test_clients_go_to_a_process_pool(client):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(use, [client] * 4, [1.0, 2.0, 3.0, 4.0])) == [[2.0], [4.0], [6.0], [8.0]]
    assert client.predict({"x": [5.0]}).array.tolist() == [10.0]


def test_a_closed_client_stays_closed(client):
    client.close()
    with pytest.raises(ClosedError):
        client.predict({"x": [1.0]})
