"""Plain clients of servers, and the models that checks are made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from plain_client import Plain, refused

from tfs_client import TensorSpec
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture
def plain(fake_server: FakeServer) -> Iterator[Plain]:
    """A plain client of the fake server."""
    client = Plain(fake_server.target)
    yield client
    client.channel.close()


@pytest.fixture(name="refused")
def refused_fixture():
    return refused


@pytest.fixture
def connect() -> Iterator[Any]:
    """Makes plain clients of other servers."""
    clients = []

    def make(target: str) -> Plain:
        clients.append(Plain(target))
        return clients[-1]

    yield make
    for client in clients:
        client.channel.close()


@pytest.fixture
def models(fake_server: FakeServer) -> FakeServer:
    """The models that the checks are made with.

    ``two``: inputs a, b. ``opt``: a, b and c, with a default for c. ``m``: two versions, labels, gives its number.
    """
    vectors = {"a": VECTOR, "b": VECTOR}
    outs = {"y": VECTOR, "z": VECTOR}
    fake_server.add_model(
        "two", lambda a, b: {"y": a + b, "z": a - b}, inputs=vectors, outputs=outs, check_shapes=False
    )
    fake_server.add_model(
        "opt",
        lambda a, b, c: {"y": a + b + c, "z": c},
        inputs=vectors | {"c": VECTOR},
        outputs=outs,
        defaults={"c": np.float32([100])},
    )
    for version in (1, 2):
        fake_server.add_model(
            "m", lambda n=version: np.float32(n), inputs={}, outputs={"y": TensorSpec("float32", ())}, version=version
        )
    fake_server.set_label("m", "stable", 1)
    fake_server.server.manager.set_label("m", "gone", 9)
    return fake_server
