"""How often the bytes of a prediction are copied: tracemalloc counts what Python and numpy allocate."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from tfs_client import AsyncPredictClient, PredictClient

BATCH = np.ones((8, 224, 224, 3), np.float32)  # 4.8 MB
OPTIONS = {"model": "m", "timeout": 30}
LITTLE = 100_000  # bytes for everything that does not grow with the tensors


class Peak:
    """The most memory that was allocated in addition at any time, in bytes."""

    bytes = 0


@contextmanager
def allocated():
    gc.collect()
    peak = Peak()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def blocking(target, *, times):
    with PredictClient(target, **OPTIONS) as client:
        for _ in range(times - 1):
            client.predict({"x": BATCH})
        with allocated() as peak:
            prediction = client.predict({"x": BATCH})
    return prediction, peak.bytes


def by_future(target, *, times):
    with PredictClient(target, **OPTIONS) as client:
        for _ in range(times - 1):
            client.predict_future({"x": BATCH}).result(30)
        with allocated() as peak:
            prediction = client.predict_future({"x": BATCH}).result(30)
    return prediction, peak.bytes


def in_asyncio(target, *, times):
    async def main():
        async with AsyncPredictClient(target, **OPTIONS) as client:
            for _ in range(times - 1):
                await client.predict({"x": BATCH})
            with allocated() as peak:
                prediction = await client.predict({"x": BATCH})
            return prediction, peak.bytes

    return asyncio.run(main())


STYLES = pytest.mark.parametrize("run", [blocking, by_future, in_asyncio])


@STYLES
def test_the_first_request_is_one_copy_of_its_arrays(run, fixed):
    _, peak = run(fixed.target, times=1)
    assert BATCH.nbytes < peak < BATCH.nbytes + LITTLE


@STYLES
def test_later_requests_reuse_the_memory(run, fixed):
    # A thread of gRPC may still hold the memory of the request before; on a busy machine for long.
    assert any(run(fixed.target, times=4)[1] < LITTLE for _ in range(5))


def filled(batch):
    batch["x"][...] = BATCH
    return batch


@pytest.mark.parametrize("future", [False, True])
def test_arrays_in_the_request_are_not_copied(future, fixed):
    with PredictClient(fixed.target, **OPTIONS) as client:
        client.predict_future({"x": BATCH[:1]}).result(30)
        batch = filled(client.empty({"x": (BATCH.shape, "float32")}))
        with allocated() as peak:
            if future:
                client.predict_future(batch).result(30)
            else:
                client.predict(batch)
    assert peak.bytes < LITTLE


def test_arrays_in_the_request_are_not_copied_in_asyncio(fixed):
    async def main():
        async with AsyncPredictClient(fixed.target, **OPTIONS) as client:
            await client.predict({"x": BATCH[:1]})
            batch = filled(await client.empty({"x": (BATCH.shape, "float32")}))
            with allocated() as peak:
                await client.predict(batch)
            return peak.bytes

    assert asyncio.run(main()) < LITTLE


def of_grpc_alone(target):
    """The peak of a call that receives the same bytes: gRPC itself holds a reply twice."""
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        call = channel.unary_unary("/fixed/Any")
        call(b"", timeout=30)
        with allocated() as peak:
            call(b"", timeout=30)
    return peak.bytes


@STYLES
def test_a_reply_adds_nothing_to_what_grpc_allocates(run, server_of_fixed_replies):
    server_of_fixed_replies.answer_with(BATCH, typed=True)
    prediction, peak = run(server_of_fixed_replies.target, times=4)
    # gRPC's own peak depends on the pieces in which the reply arrives.
    assert BATCH.nbytes < peak < of_grpc_alone(server_of_fixed_replies.target) + BATCH.nbytes / 4
    assert np.shares_memory(prediction.array, np.frombuffer(prediction.raw, np.uint8))
    assert prediction.array[-1, -1, -1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_outputs_are_views_of_the_reply(dtype, typed, server_of_fixed_replies):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    server_of_fixed_replies.answer_with(values, typed=typed)
    with PredictClient(server_of_fixed_replies.target, **OPTIONS) as client:
        first, second = client.predict({"x": values}), client.predict({"x": values})
    for prediction in (first, second):  # the second is read by the layout of the first
        assert np.shares_memory(prediction.array, np.frombuffer(prediction.raw, np.uint8))
        assert np.array_equal(prediction.array, values)
        assert not prediction.array.flags.writeable


def test_values_in_varints_are_unpacked_once(server_of_fixed_replies):
    labels = np.arange(300_000) % 1000
    server_of_fixed_replies.answer_with(labels, typed=True)
    with PredictClient(server_of_fixed_replies.target, **OPTIONS) as client:
        for _ in range(3):
            prediction = client.predict({"x": BATCH[:1]})
        with allocated() as peak:
            client.predict({"x": BATCH[:1]})
        assert np.array_equal(prediction.array, labels)
    assert peak.bytes < 5 * labels.nbytes
