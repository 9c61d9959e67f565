"""Servers of which the same must be true: the tiny one in both encodings, and one on TensorFlow's stubs and runtime.

Each serves the model ``half_plus_two`` in versions 1 and 2.

``half_plus_two`` takes x, float32 of any length, and gives y = x / 2 + 2 (version 1) or y = x / 2 + 3 (version 2).
Its signature ``many`` takes a, float32, and text, string, and gives doubled = 2 a and loud = text + "!".
"""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
TEXT = TensorSpec("string", (None,))


def tiny(**options):
    server = FakeServer(ServerConfig(**options))
    for version in (1, 2):
        server.add_model(
            "half_plus_two",
            lambda x, n=version: x / 2 + np.float32(1 + n),
            inputs={"x": VECTOR},
            outputs={"y": VECTOR},
            version=version,
        )
        server.add_model(
            "half_plus_two",
            lambda a, text: {"doubled": 2 * a, "loud": np.array([value + b"!" for value in text], object)},
            inputs={"a": VECTOR, "text": TEXT},
            outputs={"doubled": VECTOR, "loud": TEXT},
            version=version,
            signature="many",
        )
    return server


@pytest.fixture(scope="module", params=["typed", "content", pytest.param("tensorflow", marks=pytest.mark.peer)])
def target(request):
    """The address of a running server, for each kind of server."""
    if request.param == "tensorflow":
        yield request.getfixturevalue("official").target
        return
    with tiny(tensor_content=request.param == "content") as server:
        yield server.target


@pytest.fixture
def client(target):
    """A client of the model."""
    with PredictClient(target, model="half_plus_two", timeout=20) as client:
        yield client
