"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer


@pytest.fixture
def double(fake_server: FakeServer) -> FakeServer:
    """A fake server with one model: y = 2 x, float32 vectors."""
    vector = TensorSpec("float32", (None,))
    return fake_server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})


@pytest.fixture
def client(double: FakeServer) -> Iterator[PredictClient]:
    """A client of the doubling model."""
    with PredictClient(double.target, model="double", timeout=10) as client:
        yield client
