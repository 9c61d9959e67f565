"""A server for the batch calls, and clients of it in every calling style."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from batch_models import add_models
from calling import calling

from tfs_client.testing import FakeServer

STYLES = ("grpc", "grpc-aio", "rest", "rest-aio")


@pytest.fixture(scope="session")
def models() -> Iterator[FakeServer]:
    """A server with the models "mixed", "picky", "whole", "threes", "pairs" and "echo"."""
    with FakeServer() as server:
        add_models(server)
        yield server


@pytest.fixture(scope="session", params=STYLES)
def any_client(request, models):
    """A client of that server, in every calling style."""
    with calling(request.param, models, timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    """Check that the threads started by a test's batch calls and batchers end with it."""
    yield
    names = ("tfs-client-source", "tfs-client-batches")
    for thread in threading.enumerate():
        if thread.name.startswith(names):
            thread.join(10)
            assert not thread.is_alive()
