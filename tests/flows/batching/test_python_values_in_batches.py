"""Python numbers by name in batches take the dtype of the signature, as in single calls."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tfs_client import AsyncMicroBatcher, AsyncPredictClient, MicroBatcher, PredictClient, TensorSpec
from tfs_client.testing import FakeServer

IDS, VECTOR, SCALAR = TensorSpec("int64", (None, None)), TensorSpec("float32", (None,)), TensorSpec("float32", ())
EXAMPLES = [{"ids": [n, n + 1], "mask": [1, 0]} for n in range(20)]


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        server.add_model("tokens", lambda ids, mask: ids * mask, inputs={"ids": IDS, "mask": IDS}, outputs={"y": IDS})
        server.add_model(
            "dropout", lambda x, keep: x * keep, inputs={"x": VECTOR, "keep": SCALAR}, outputs={"y": VECTOR}
        )
        yield server


@pytest.fixture(params=["grpc", "rest"])
def target(request, server):
    return server.target if request.param == "grpc" else server.rest_url


def test_predict_many_and_micro_batchers_use_the_signatures_dtypes(target):
    with PredictClient(target, timeout=20) as client:
        results = list(client.predict_many(EXAMPLES, model="tokens", batch_size=6))
        assert [result["y"].tolist() for result in results] == [[n, 0] for n in range(20)]
        assert all(result["y"].dtype == np.int64 for result in results)
        results = client.predict_many([{"x": n} for n in range(5)], model="dropout", shared={"keep": 2})
        assert [result["y"].item() for result in results] == [0, 2, 4, 6, 8]
        with MicroBatcher(client, model="tokens") as batcher:
            futures = [batcher.submit(example) for example in EXAMPLES]
            assert [future.result(20)["y"].tolist() for future in futures] == [[n, 0] for n in range(20)]
        with MicroBatcher(client, model="dropout", shared={"keep": 1}) as batcher:
            assert batcher.predict({"x": 3})["y"].item() == 3


def test_the_asyncio_versions_use_the_signatures_dtypes(target):
    async def main():
        async with AsyncPredictClient(target, timeout=20) as client:
            results = [result async for result in client.predict_many(EXAMPLES, model="tokens", batch_size=6)]
            assert [result["y"].tolist() for result in results] == [[n, 0] for n in range(20)]
            async with AsyncMicroBatcher(client, model="tokens") as batcher:
                results = await asyncio.gather(*(batcher.predict(example) for example in EXAMPLES))
                assert [result["y"].tolist() for result in results] == [[n, 0] for n in range(20)]

    asyncio.run(main())
