"""Measure predictions per second with and without batching on the server.

The tiny server, in a separate process, serves one model twice, plain and batched. A call of the model costs 2 ms and a
little for every row, and the model runs one call at a time, as on an accelerator. The load is 64 raw calls in flight,
with prepared requests of one row, and every answer is checked. "free" is the same model at no cost and without
batching: it shows the limit of the server and the load, and therefore the upper bound for batching. The three
alternate; the figures are medians of the rounds.

    python benchmarks/server_batching.py [--rounds N] [--timeout MICROS]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import grpc
import numpy as np
from measure import machine, median
from processes import started

from tfs_client import TensorSpec
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.server.batching import BatchingParameters, BatchingServable

IN_FLIGHT = 64
CALL = 0.002  # seconds that a call of the model takes, with any number of rows
WIDTH = 64
AIM = 5.0  # the project's target
CALLS = {"plain": 512, "batched": 2048, "free": 2048}

WEIGHTS = np.random.default_rng(0).random((WIDTH, WIDTH), np.float32)
_accelerator = threading.Lock()


def free(x: np.ndarray) -> np.ndarray:
    return np.stack([row @ WEIGHTS for row in x])


def model(x: np.ndarray) -> np.ndarray:
    with _accelerator:
        time.sleep(CALL)
        return free(x)


def servable(function: Callable[[np.ndarray], np.ndarray]) -> FunctionServable:
    spec = TensorSpec("float32", (None, WIDTH))
    return FunctionServable({"serving_default": FunctionSignature(function, {"x": spec}, {"y": spec})})


def serve(timeout: int) -> None:
    """Serve the three models; prints the port first, and stops at a line of standard input.

    At the end, prints the number of batches and the number of their rows.
    """
    sizes: list[int] = []
    # One thread for each accelerator: a second one would take small batches early, and wait with them.
    parameters = BatchingParameters(max_batch_size=IN_FLIGHT, batch_timeout_micros=timeout, num_batch_threads=1)
    with (
        BatchingServable(servable(model), parameters, observer=lambda run: sizes.append(run.executed)) as batched,
        # A call holds a thread while it waits: batches cannot be larger than this.
        Server(ServerConfig(threads=IN_FLIGHT)) as server,
    ):
        server.add_model("plain", servable(model))
        server.add_model("batched", batched)
        server.add_model("free", servable(free))
        print(server.port, flush=True)
        sys.stdin.readline()
        print(len(sizes), sum(sizes), flush=True)


@contextmanager
def running(timeout: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the server in a separate process; yields it and its target."""
    with started(__file__, "--serve", "--timeout", str(timeout)) as (process, (port,)):
        yield process, f"127.0.0.1:{port}"


def exchanges(name: str) -> list[tuple[bytes, bytes]]:
    """Prepared requests, and their expected answers."""
    answered = ModelSpec(name, 1, None, "serving_default")
    return [
        (
            predict_messages.write_request(ModelSpec(name), {"x": row}),
            predict_messages.write_response(answered, {"y": row @ WEIGHTS}),
        )
        for row in np.random.default_rng(1).random((IN_FLIGHT, 1, WIDTH), np.float32)
    ]


def rate(channel: grpc.Channel, name: str, calls: int) -> float:
    """Predictions per second, with the maximum number in flight."""
    raw, pairs = channel.unary_unary(Predict.path), exchanges(name)
    waiting: deque[grpc.Future[bytes]] = deque()
    started = perf_counter()
    for index in range(calls + IN_FLIGHT):
        if index >= IN_FLIGHT:
            assert waiting.popleft().result() == pairs[index % IN_FLIGHT][1]
        if index < calls:
            waiting.append(raw.future(pairs[index % IN_FLIGHT][0], timeout=60))
    return calls / (perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timeout", type=int, default=1000, help="batch_timeout_micros")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.timeout)
    print(machine("grpcio", "numpy", "tfs-client"))
    rates: dict[str, list[float]] = {name: [] for name in CALLS}
    with running(options.timeout) as (process, target), grpc.insecure_channel(target) as channel:
        for turn in range(-1, options.rounds):
            for name, calls in CALLS.items():
                found = rate(channel, name, calls)
                if turn >= 0:  # round -1 is the warm-up
                    rates[name].append(found)
        batches, rows = map(int, process.communicate("\n", timeout=30)[0].split())
    plain, batched, ceiling = (median(rates[name]) for name in CALLS)
    print(f"model: {CALL * 1e3:g} ms a call, one call at a time; {IN_FLIGHT} predictions of one row in flight")
    print(f"plain    {plain:8.0f} predictions/s")
    print(f"batched  {batched:8.0f} predictions/s  ({rows / batches:.1f} rows a batch)")
    print(f"free     {ceiling:8.0f} predictions/s")
    print(f"factor   {batched / plain:8.1f}  (target: {AIM:g} or more)")
    return None


if __name__ == "__main__":
    main()
