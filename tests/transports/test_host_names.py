"""Names of hosts: an unresponsive name server delays neither deadlines nor the end of a loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import httpcore
import numpy as np
import pytest
from calling import REST, calling
from scripted import MODEL, serving
from tcp import nobody

from tfs_client import AsyncPredictClient, DeadlineExceededError, UnavailableError
from tfs_client._transports.host_names import first_of

X = {"x": np.float32([1])}


@pytest.fixture
def silent(monkeypatch):
    """A name server that does not answer until the test is over."""
    over = threading.Event()

    def getaddrinfo(*args, **options):
        over.wait(20)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    over.set()


@pytest.fixture
def two(monkeypatch):
    """A host name with two addresses, of which only the second one has a server."""

    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if host != "some.where":
            return real(host, port, *args, **options)
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("style", REST)
def test_the_deadline_holds_during_name_resolution(silent, style):
    began = time.monotonic()
    with (
        calling(style, "http://some.where:8501", model=MODEL, timeout=0.2) as client,
        pytest.raises(DeadlineExceededError),
    ):
        client.predict(X)
    assert time.monotonic() - began < 5


def test_an_event_loop_can_end_during_name_resolution(silent):
    async def hurried():
        async with AsyncPredictClient("http://some.where:8501", model=MODEL, timeout=0.05) as client:
            with pytest.raises(DeadlineExceededError):
                await client.predict(X)

    began = time.monotonic()
    asyncio.run(hurried())
    assert time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="loopback may have one address only")
@pytest.mark.parametrize("style", REST)
def test_all_addresses_of_a_name_are_tried(two, style):
    with serving(style) as scripted, calling(style, f"http://some.where:{scripted.port}", model=MODEL) as client:
        assert client.predict(X).array.tolist() == [2.0]
    with (
        nobody() as port,
        calling(style, f"http://some.where:{port}", model=MODEL) as client,
        pytest.raises(UnavailableError),
    ):
        client.predict(X)


def test_an_unresponsive_address_does_not_delay_the_next():
    closed = []

    class Stream:
        def __init__(self, name):
            self.name = name

        async def aclose(self):
            closed.append(self.name)

    async def connect(address):
        if address == "refused":
            raise httpcore.ConnectError("refused")
        with contextlib.suppress(asyncio.CancelledError):  # it comes too late
            await asyncio.sleep(20 if address == "silent" else 0)
        return Stream(address)

    stream = asyncio.run(first_of(["silent", "refused", "there", "unneeded"], connect))
    assert (stream.name, closed) == ("there", ["silent"])
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(first_of(["refused"], connect))
