"""Models for the batch calls, and what their tests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from calling import PATIENCE, Awaited

from tfs_client import TensorSpec
from tfs_client.errors import InvalidArgumentError
from tfs_client.testing import FakeServer

BAD = -1.0  # the number that the model "picky" refuses


def mixed(a, b, s, h, flag, k):
    """Outputs of many dtypes from inputs of many dtypes, each row independently."""
    strings = np.empty(len(s), object)
    strings[:] = [text + b"!" for text in s]
    return {
        "turned": a[:, ::-1] * k,
        "counted": np.stack([b // 3, b], 1),
        "loud": strings,
        "negative": -h,
        "not": ~flag,
    }


def picky(x):
    if (x == BAD).any():
        raise InvalidArgumentError("minus one is beyond me")
    return 2 * x


def threes(x):
    if x.shape[1:] != (3,):
        raise InvalidArgumentError("matrices of other sizes are beyond me")
    return 2 * x


def pairs(x):
    if x.shape != (2, 3):
        raise InvalidArgumentError("one pair, please")
    return 2 * x


def add_models(server):
    server.add_model(
        "mixed",
        mixed,
        inputs={
            "a": TensorSpec("float32", (None, 3)),
            "b": TensorSpec("int64", (None,)),
            "s": TensorSpec("string", (None,)),
            "h": TensorSpec("float64", (None, 2)),
            "flag": TensorSpec("bool", (None,)),
            "k": TensorSpec("float32", ()),
        },
        outputs={
            "turned": TensorSpec("float32", (None, 3)),
            "counted": TensorSpec("int64", (None, 2)),
            "loud": TensorSpec("string", (None,)),
            "negative": TensorSpec("float64", (None, 2)),
            "not": TensorSpec("bool", (None,)),
        },
    )
    anything = TensorSpec("float32", None)
    server.add_model("picky", picky, inputs={"x": anything}, outputs={"y": anything})
    scalar = TensorSpec("float32", ())
    server.add_model("whole", lambda x: x.sum(), inputs={"x": anything}, outputs={"y": scalar})
    server.add_model("threes", threes, inputs={"x": TensorSpec("float32", (None, 3))}, outputs={"y": anything})
    pair = TensorSpec("float32", (2, 3))
    server.add_model("pairs", pairs, inputs={"x": pair}, outputs={"y": pair})
    text = TensorSpec("string", None)
    server.add_model("echo", lambda text: text, inputs={"text": text}, outputs={"text": text})


def many(client: Any, examples: Any, found: list[Any] | None = None, **options: Any) -> list[Any]:
    """All results of predict_many, in any calling style; ``found`` collects those before an error."""
    found = [] if found is None else found
    if not isinstance(client, Awaited):
        for result in client.predict_many(examples, **options):
            found.append(result)
        return found

    async def collect() -> None:
        async for result in client.client.predict_many(examples, **options):
            found.append(result)

    asyncio.run_coroutine_threadsafe(collect(), client._loop).result(PATIENCE)
    return found


@contextlib.contextmanager
def slow_server(fn: Any, **server_options: Any) -> Iterator[FakeServer]:
    """A separate server with the model "m", for tests that block it."""
    anything = TensorSpec("float32", None)
    with FakeServer(**server_options) as server:
        server.add_model("m", fn, inputs={"x": anything}, outputs={"y": anything})
        yield server
