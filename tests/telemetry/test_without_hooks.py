"""Without hooks, a prediction on arrays is a straight line: its calls and its memory are counted."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scripted import predict_reply

import tfs_client
from tfs_client import AsyncPredictClient, PredictClient

ROOT = str(Path(tfs_client.__file__).parent)
ARRAYS = {"x": np.float32([1.0])}
OPTIONS = {"model": "double", "timeout": 10}

ASKED = ["_flows.asked.asked", "_transports.deadline.__init__"]
REQUEST = [
    "_codec.values.are_arrays",
    "_flows.asked.aliases",
    "_calls.predict.__init__",
    "_calls.predict.write",
    "_codec.values.as_arrays",
    "_codec.predict_messages.write_request",
]
SENT = [
    "_transports.deadline.remaining",
    "_transports.grpc_messages._unchanged",
    "_transports.grpc_messages._unchanged",
]
REPLY = [
    "_calls.predict.read",
    "_codec.predict_messages.read_response",
    "_codec.message_layouts.read",
    "results.__init__",
    "_flows.known_signatures.follow",
]
BLOCKING = [
    "client.predict",
    *ASKED,
    *REQUEST,
    "_transports.grpc.call",
    *SENT,
    "_transports.grpc_metadata.metadata_of",
    "_transports.reply.__init__",
    *REPLY,
]
ASYNCIO = [
    "aio.predict",
    *ASKED,
    *REQUEST,
    "_transports.grpc_aio.call",
    "_transports.per_loop.known",
    *SENT,
    "aio.predict",  # resumed
    "_transports.grpc_aio.call",
    "_transports.grpc_metadata.metadata_of_aio",
    "_transports.reply.__init__",
    *REPLY,
]


@contextmanager
def calls_of_this_package():
    """The calls of the package's functions in this thread, in their order. Python 3.12 inlines comprehensions."""
    found = []

    def note(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT) and not code.co_name.startswith("<"):
            found.append(f"{frame.f_globals['__name__'].removeprefix('tfs_client.')}.{code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


def test_a_prediction_makes_these_calls_and_no_others(client):
    for _ in range(3):
        client.predict(ARRAYS)
    with calls_of_this_package() as found:
        client.predict(ARRAYS)
    assert found == BLOCKING


def test_an_asyncio_prediction_makes_these_calls_and_no_others(double):
    async def main():
        async with AsyncPredictClient(double.target, **OPTIONS) as client:
            for _ in range(3):
                await client.predict(ARRAYS)
            with calls_of_this_package() as found:
                await client.predict(ARRAYS)
            return found

    assert asyncio.run(main()) == ASYNCIO


def test_a_future_calls_nothing_that_observes(client):
    client.predict_future(ARRAYS).result(10)
    with calls_of_this_package() as found:
        future = client.predict_future(ARRAYS)
    future.result(10)
    assert "_flows.predicting.straight" in found
    assert [name for name in found if "telemetry" in name] == []


def test_a_prediction_leaves_no_memory_behind(raw_server):
    reply = predict_reply(1)  # of a server in this process that keeps nothing

    def grown(client, predictions):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(predictions):
            client.predict(ARRAYS)
        gc.collect()
        return sys.getallocatedblocks() - before

    with PredictClient(raw_server(Predict=lambda request, context: reply), model="m", timeout=10) as client:
        grown(client, 20)
        assert any(grown(client, 100) < 50 for _ in range(5))  # of gRPC's threads; no block for each prediction


def test_a_prediction_with_a_hook_takes_the_flow(double):
    records = []
    with PredictClient(double.target, hooks=records.append, **OPTIONS) as client, calls_of_this_package() as found:
        client.predict(ARRAYS)
    assert len(records) == 3
    assert found.count("_flows.telemetry.hooks.give") == 3
