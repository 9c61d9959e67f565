"""Measure the memory that calls leak when their task is cancelled (asyncio.wait_for) or their timeout passes.

The server takes longer than the limit of any call. The benchmark also measures grpc.aio alone, without tfs_client. The
leak depends on how far a call has got: most of it comes from calls that are cancelled before gRPC has sent them.

    python benchmarks/cancelled.py [--calls 4000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import grpc
import numpy as np
from measure import machine
from processes import started
from soak import resident

from tfs_client import AsyncPredictClient, DeadlineExceededError, TensorSpec, make_tensor_proto
from tfs_client.protos.tensorflow_serving.apis import predict_pb2
from tfs_client.server import FunctionSignature, Server, ServerConfig

AT_ONCE = 50
LIMITS = (0.0005, 0.02)  # seconds that a call may take
METHOD = "/tensorflow.serving.PredictionService/Predict"

Call = Callable[[float], Awaitable[object]]


def serve() -> None:
    """Run a server whose model takes longer than the limit of any call."""
    vector = TensorSpec("float32", (None,))

    def slow(x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(5 * max(LIMITS))
        return {"y": x}

    with Server(ServerConfig(threads=2 * AT_ONCE)) as server:
        server.add_model("m", {"serving_default": FunctionSignature(slow, {"x": vector}, {"y": vector})})
        print(server.target, flush=True)
        sys.stdin.read()


async def growth(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """KB that each call leaks, measured after the first quarter of the calls."""
    first = 0.0
    for done in range(0, calls, AT_ONCE):
        if done >= calls // 4 and not first:
            gc.collect()
            first = resident()
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    gc.collect()
    return (resident() - first) * 1e3 / (calls * 3 / 4)


async def measure(target: str, calls: int) -> None:
    """Print a row for each way of ending a call."""
    x = {"x": np.float32([1])}
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(make_tensor_proto([1.0], "float32"))
    body = request.SerializeToString()
    async with AsyncPredictClient(target, model="m") as client, grpc.aio.insecure_channel(target) as channel:
        method = channel.unary_unary(METHOD)
        await client.predict(x)
        await method(body)

        async def timeout(seconds: float) -> None:
            with suppress(DeadlineExceededError):
                await client.predict(x, timeout=seconds)

        async def wait_for(seconds: float) -> None:
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(client.predict(x), seconds)

        async def bare(seconds: float) -> None:
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(method(body), seconds)

        rows: dict[str, Call] = {
            "predict(timeout=...)": timeout,
            "asyncio.wait_for(predict())": wait_for,
            "asyncio.wait_for, grpc.aio alone": bare,
        }
        for seconds in LIMITS:
            for name, call in rows.items():
                found = await growth(partial(call, seconds), calls)
                print(f"{name:34} after {seconds * 1000:4.1f} ms {found:6.1f} KB a call", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    print(machine("grpcio", "tfs-client"))
    with started(__file__, "--serve") as (_, (target,)):
        asyncio.run(measure(target, options.calls))


if __name__ == "__main__":
    main()
