"""What a prediction costs on top of raw gRPC that carries the same bytes.

For every size of request and kind of reply: PredictClient.predict, from array to array, against a bare
``channel.unary_unary`` call with a ready-made request whose reply is thrown away. One server, in a process of its own,
answers both with the same bytes; calls alternate; the figure is the ratio of the medians. Two connections to one server
differ by several percent for as long as they last, so every row is measured over several pairs of them.

"encode" is the part of predict that makes the request, which raw gRPC here gets ready-made. Above a few hundred kB it
is the time of one copy of the array, and the floor of what can be reached.

    python benchmarks/overhead.py [--quick] [--aio]

``--aio`` times AsyncPredictClient against a call of grpc.aio, one after the other in one task.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter

import grpc
import numpy as np
from bare_server import UNLIMITED, running
from measure import duration, machine, median

from tfs_client import AsyncPredictClient, PredictClient
from tfs_client.calls.predict import Predict
from tfs_client.codec import predict
from tfs_client.codec.model_spec import ModelSpec

SHAPES = {"40 B": (10,), "0.6 MB": (1, 224, 224, 3), "4.8 MB": (8, 224, 224, 3), "19 MB": (32, 224, 224, 3)}
REPLIES = ("small", "content", "typed")
PAIRS = 6
WARMUP = 10  # calls of each kind before the first that counts, on every pair
LIMIT, LIMIT_AIO = 1.08, 1.10  # what the project aims at, in every row

Times = tuple[list[float], list[float], list[float]]


def messages(x: np.ndarray, kind: str) -> tuple[bytes, bytes, np.ndarray]:
    """Request, reply, and the output in it."""
    request = predict.write_request(ModelSpec("m"), {"x": x})
    y = x if kind != "small" else np.arange(10, dtype=np.float32).reshape(1, 10)
    reply = predict.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": y}, typed=kind != "content")
    return request, reply, y


def row(target: str, x: np.ndarray, kind: str, seconds: float) -> Times:
    """Seconds of every call: raw gRPC, predict, and the encoding in predict."""
    request, reply, y = messages(x, kind)
    base: list[float] = []
    own: list[float] = []
    encode: list[float] = []
    for _ in range(PAIRS):
        with PredictClient(target, model="m") as client, grpc.insecure_channel(target, options=UNLIMITED) as channel:
            channel.unary_unary("/bench/Reply")(reply)
            assert np.array_equal(client.predict({"x": x}).array, y)
            raw = channel.unary_unary(Predict.path)
            started = perf_counter()
            for turn in range(-WARMUP, 500):
                if turn > 10 and perf_counter() - started > seconds / PAIRS:
                    break
                for ours in (turn % 2, 1 - turn % 2):
                    before = perf_counter()
                    result = client.predict({"x": x}) if ours else raw(request, timeout=30)
                    took = perf_counter() - before
                    if turn >= 0:
                        (own if ours else base).append(took)
                        if ours:
                            encode.append(result.timing.encode)
                    del result
    return base, own, encode


def row_aio(target: str, x: np.ndarray, kind: str, seconds: float) -> Times:
    """The same for AsyncPredictClient and grpc.aio."""
    return asyncio.run(_row_aio(target, x, kind, seconds))


async def _row_aio(target: str, x: np.ndarray, kind: str, seconds: float) -> Times:
    request, reply, y = messages(x, kind)
    base: list[float] = []
    own: list[float] = []
    encode: list[float] = []
    for _ in range(PAIRS):
        async with (
            AsyncPredictClient(target, model="m") as client,
            grpc.aio.insecure_channel(target, options=UNLIMITED) as channel,
        ):
            await channel.unary_unary("/bench/Reply")(reply)
            assert np.array_equal((await client.predict({"x": x})).array, y)
            raw = channel.unary_unary(Predict.path)
            started = perf_counter()
            for turn in range(-WARMUP, 500):
                if turn > 10 and perf_counter() - started > seconds / PAIRS:
                    break
                for ours in (turn % 2, 1 - turn % 2):
                    before = perf_counter()
                    result = await client.predict({"x": x}) if ours else await raw(request, timeout=30)
                    took = perf_counter() - before
                    if turn >= 0:
                        (own if ours else base).append(took)
                        if ours:
                            encode.append(result.timing.encode)
                    del result
    return base, own, encode


Row = Callable[[str, np.ndarray, str, float], Times]


def rows(target: str, seconds: float, one: Row) -> Iterator[tuple[str, str, Times]]:
    generator = np.random.default_rng(0)
    for size, shape in SHAPES.items():
        x = generator.random(shape, np.float32)
        for kind in REPLIES:
            yield size, kind, one(target, x, kind, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1.5 seconds for each row instead of six")
    parser.add_argument("--aio", action="store_true", help="AsyncPredictClient against grpc.aio")
    options = parser.parse_args()
    floor, limit, one = ("grpc.aio", LIMIT_AIO, row_aio) if options.aio else ("raw gRPC", LIMIT, row)
    print(machine("grpcio", "numpy", "tfs-client"))
    print(f"{'request':>8}  {'reply':8} {'rounds':>6} {floor:>9} {'predict':>9}  ratio  {'encode':>8}")
    worst = 0.0
    with running() as target:
        for size, kind, times in rows(target, 1.5 if options.quick else 6.0, one):
            base, own, encode = map(median, times)
            worst = max(worst, own / base)
            line = f"{size:>8}  {kind:8} {len(times[0]):6} {duration(base):>9} {duration(own):>9}"
            print(f"{line}  {own / base:.3f}  {duration(encode):>8}")
    print(f"worst row: {worst:.3f} (aimed at: {limit})")


if __name__ == "__main__":
    main()
