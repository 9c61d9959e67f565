"""Servers of which the same must be true: the tiny one in both encodings, and one on TensorFlow's stubs and runtime.

Each serves the model ``half_plus_two`` in versions 1 and 2, and is called in every way that it can be.

``half_plus_two`` takes x, float32 of any length, and gives y = x / 2 + 2 (version 1) or y = x / 2 + 3 (version 2).
Its signature ``many`` takes a, float32, and text, string, and gives doubled = 2 a and loud_bytes = text + "!".
"""

from __future__ import annotations

import numpy as np
import pytest
from calling import GRPC, REST, calling

from tfs_client import TensorSpec
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
            lambda a, text: {"doubled": 2 * a, "loud_bytes": np.array([value + b"!" for value in text], object)},
            inputs={"a": VECTOR, "text": TEXT},
            outputs={"doubled": VECTOR, "loud_bytes": TEXT},
            version=version,
            signature="many",
        )
        server.set_label("half_plus_two", "stable", 1)
    return server


TENSORFLOW = [pytest.param(("tensorflow", style), marks=pytest.mark.peer, id=f"tensorflow-{style}") for style in GRPC]
TINY = [("typed", style) for style in (*GRPC, *REST)] + [("content", style) for style in GRPC]


@pytest.fixture(scope="session")
def servers():
    """The tiny servers by the encoding of their answers; REST has only one."""
    with tiny() as typed, tiny(tensor_content=True) as content:
        yield {"typed": typed, "content": content}


@pytest.fixture(params=[pytest.param(pair, id="-".join(pair)) for pair in TINY] + TENSORFLOW)
def called(request):
    """Which server is called in which way."""
    return request.param


@pytest.fixture
def server(request, called):
    """The running server."""
    kind, _ = called
    return request.getfixturevalue("official") if kind == "tensorflow" else request.getfixturevalue("servers")[kind]


@pytest.fixture
def style(called):
    """The way of calling."""
    return called[1]


@pytest.fixture
def client(server, style):
    """A client of the model."""
    with calling(style, server, model="half_plus_two", timeout=20) as client:
        yield client
