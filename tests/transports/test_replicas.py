"""Replicas: lists of servers become lists of IP addresses, and names are resolved again from time to time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import numpy as np
import pytest

from tfs_client import AsyncPredictClient, ClosedError, DeadlineExceededError, PredictClient
from tfs_client._transports.replicas import Replicas


@pytest.mark.parametrize(
    ("addresses", "address"),
    [
        (["anything:1"], "anything:1"),
        (["127.0.0.1:1", "127.0.0.2:2"], "ipv4:127.0.0.1:1,127.0.0.2:2"),
        (["[::1]:1", "[::2]:2"], "ipv6:[::1]:1,[::2]:2"),
        (["127.0.0.1:1", "[::1]:2"], "ipv6:[::1]:2,[::ffff:127.0.0.1]:1"),
        (["127.0.0.2:1", "127.0.0.1:2", "127.0.0.2:1"], "ipv4:127.0.0.1:2,127.0.0.2:1"),
    ],
)
def test_several_addresses_become_one_list_of_ip_addresses(addresses, address):
    replicas = Replicas(addresses)
    assert replicas.address.startswith(address[:5])
    assert set(replicas.address[5:].split(",")) == set(address[5:].split(","))
    assert not replicas.due()


SLOW = threading.Event()  # set when the name slow.test may be answered


@pytest.fixture
def names(monkeypatch):
    """The addresses of names; other names cannot be resolved."""
    known = {}
    look_up = socket.getaddrinfo

    def known_only(host, port, *args, **options):
        if not str(host).endswith(".test"):
            return look_up(host, port, *args, **options)
        if host == "slow.test":
            SLOW.wait(20)
        if host not in known:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", known_only)
    return known


def test_names_are_resolved_again_from_time_to_time(names):
    names |= {"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]}
    replicas = Replicas(["a.test:1", "b.test:2"])
    assert (replicas.address, replicas.due(), replicas.due()) == ("", True, False)
    assert replicas.moved()
    assert replicas.address == "ipv4:10.0.0.1:1,10.0.0.2:2"
    names["b.test"] = ["10.0.0.3"]
    assert replicas.moved()
    assert replicas.address == "ipv4:10.0.0.1:1,10.0.0.3:2"


def test_reordered_addresses_are_not_a_change(names):
    names |= {"a.test": ["10.0.0.1", "10.0.0.2"], "b.test": ["10.0.0.3"]}
    replicas = Replicas(["a.test:1", "b.test:1"])
    replicas.moved()
    names["a.test"].reverse()
    assert not replicas.moved()


def test_a_dns_outage_keeps_the_known_addresses(names):
    names |= {"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]}
    replicas = Replicas(["a.test:1", "b.test:2"])
    replicas.moved()
    del names["b.test"]
    assert not replicas.moved()
    names.clear()
    assert not replicas.moved()
    assert replicas.address == "ipv4:10.0.0.1:1,10.0.0.2:2"


def test_names_that_were_never_resolved_are_left_to_grpc(names):
    replicas = Replicas(["a.test:1", "b.test:2"])
    replicas.moved()
    assert replicas.address == "a.test:1"


def test_a_client_calls_the_addresses_that_its_names_resolve_to(names, double):
    port = double.target.rpartition(":")[2]
    names |= {"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}
    targets = [f"a.test:{port}", f"b.test:{port}"]

    async def main():
        async with AsyncPredictClient(targets, model="double", timeout=20) as client:
            return await client.predict({"x": np.float32([2])})

    with PredictClient(targets, model="double", timeout=20) as client:
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2.0]
        assert client.predict_future({"x": np.float32([1])}).result(20).array.tolist() == [2.0]
    assert asyncio.run(main()).array.tolist() == [4.0]


@pytest.fixture
def slow_names(names):
    SLOW.clear()
    yield ["slow.test:1", "b.test:1"]
    SLOW.set()


def test_a_deadline_holds_during_name_resolution(slow_names):
    async def main():
        async with AsyncPredictClient(slow_names, model="m", timeout=0.3) as client:
            with pytest.raises(DeadlineExceededError, match="names of the servers were not resolved in time"):
                await client.predict({"x": [1.0]})
            assert time.monotonic() - started < 10
            SLOW.set()  # a loop waits for its threads before it ends

    started = time.monotonic()
    with PredictClient(slow_names, model="m", timeout=0.3) as client:
        assert time.monotonic() - started < 5  # making a client looks up nothing
        with pytest.raises(DeadlineExceededError, match="names of the servers were not resolved in time"):
            client.predict({"x": [1.0]})
    asyncio.run(main())


def test_closing_ends_the_wait_for_names(slow_names):
    with PredictClient(slow_names, model="m", timeout=20) as client:
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ClosedError):
            client.predict({"x": [1.0]})
