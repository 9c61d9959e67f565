"""Compare the rates of single calls and client-side batches, in examples per second.

A tiny server in a separate process serves a model that costs 2 ms a call and 0.05 ms a row, and runs one call at a
time, as an accelerator does; "wide" is the same model with four calls at a time. "short queue" is the first model
behind a batching queue that holds two batches and refuses more. Every answer is checked. The ways of calling alternate;
the figures are medians of the rounds.

    python benchmarks/batching.py [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import perf_counter

import numpy as np
from measure import machine, median
from processes import started

from tfs_client import MicroBatcher, PredictClient, TensorSpec
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.server.batching import BatchingParameters, BatchingServable

CALL, ROW = 0.002, 0.00005  # seconds that the model takes for a call, and for each row in it
WIDTH = 16
BATCH = 32
THREADS = 64
FIXED = (1, 2, 4, 8, 16)
MANY_AIM, MICRO_AIM, AUTO_AIM = 8.0, 5.0, 0.9

EXAMPLES = np.random.default_rng(0).random((512, WIDTH), np.float32)
Run = Callable[[], int]  # makes predictions, and returns how many


def servable(limit: int) -> FunctionServable:
    """The model, limited to a number of concurrent calls."""
    accelerator = threading.Semaphore(limit)

    def compute(x: np.ndarray) -> np.ndarray:
        with accelerator:
            time.sleep(CALL + ROW * len(x))
        return 2 * x

    spec = TensorSpec("float32", (None, WIDTH))
    return FunctionServable({"serving_default": FunctionSignature(compute, {"x": spec}, {"y": spec})})


def serve() -> None:
    """Serve the three models; prints the port, and stops at the end of standard input."""
    short = BatchingParameters(
        max_batch_size=BATCH, batch_timeout_micros=0, num_batch_threads=1, max_enqueued_batches=2
    )
    with BatchingServable(servable(1), short) as queued, Server(ServerConfig(threads=THREADS)) as server:
        server.add_model("one", servable(1))
        server.add_model("wide", servable(4))
        server.add_model("queued", queued)
        print(server.port, flush=True)
        sys.stdin.read()


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a separate process; yields its target."""
    with started(__file__, "--serve") as (_, (port,)):
        yield f"127.0.0.1:{port}"


def example(index: int) -> np.ndarray:
    """The example with a number; examples repeat."""
    return EXAMPLES[index % len(EXAMPLES)]


def check(index: int, output: np.ndarray) -> None:
    """Check the answer for an example."""
    assert np.array_equal(output, 2 * example(index)), index


def singly(client: PredictClient, examples: int = 200) -> int:
    """Sequential calls, each with one row."""
    for index in range(examples):
        check(index, client.predict({"x": example(index)[None]})["y"][0])
    return examples


def many(client: PredictClient, model: str, in_flight: object, examples: int) -> int:
    """``predict_many``; raises the error of a failed call."""
    source = ({"x": example(index)} for index in range(examples))
    results = client.predict_many(source, batch_size=BATCH, in_flight=in_flight, model=model)  # type: ignore[call-overload]
    for index, prediction in enumerate(results):
        check(index, prediction["y"])
    return examples


def from_threads(call: Callable[[int], np.ndarray], examples: int) -> int:
    """Concurrent calls with one row each, from many threads."""
    numbers = count()

    def work() -> None:
        while (index := next(numbers)) < examples:
            check(index, call(index))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return examples


def rates(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Examples per second of each run; the runs alternate, after one warm-up round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-1, rounds):
        names = list(runs)
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            started = perf_counter()
            done = runs[name]()
            if turn >= 0:
                found[name].append(done / (perf_counter() - started))
    return {name: median(times) for name, times in found.items()}


def pace(client: PredictClient, what: str, model: str, fixed: tuple[int, ...], rounds: int) -> None:
    """Compare in_flight="auto" with fixed values."""
    runs: dict[str, Run] = {
        str(in_flight): lambda in_flight=in_flight: many(client, model, in_flight, 12800)  # type: ignore[misc]
        for in_flight in (*fixed, "auto")
    }
    found = rates(runs, rounds)
    best = max(found[str(in_flight)] for in_flight in fixed)
    print(f"\n{what}: predict_many, examples/s by in_flight")
    for name, rate in found.items():
        print(f"  {name:>4} {rate:8.0f}  {rate / best:.2f} of the best fixed one")
    print(f"  auto / best: {found['auto'] / best:.2f} (target: {AUTO_AIM} or more), no call failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    print(machine("grpcio", "numpy", "tfs-client"))
    print(f"model: {CALL * 1e3:g} ms a call and {ROW * 1e3:g} ms a row; {WIDTH} float32 a row, {BATCH} rows a request")
    with running() as target, PredictClient(target, model="one") as client, MicroBatcher(client) as batcher:
        found = rates(
            {
                "single calls": lambda: singly(client),
                "predict_many": lambda: many(client, "one", 4, 12800),
                f"{THREADS} threads": lambda: from_threads(
                    lambda i: client.predict({"x": example(i)[None]})["y"][0], 800
                ),
                f"{THREADS} threads, MicroBatcher": lambda: from_threads(
                    lambda i: batcher.predict({"x": example(i)})["y"], 6400
                ),
            },
            options.rounds,
        )
        for name, rate in found.items():
            print(f"  {name:<25} {rate:8.0f} examples/s")
        single, streamed, threads, micro = found.values()
        print(f"  predict_many / single calls: {streamed / single:.1f} (target: {MANY_AIM:g} or more)")
        print(f"  MicroBatcher / {THREADS} threads: {micro / threads:.1f} (target: {MICRO_AIM:g} or more)")
        pace(client, "one call at a time", "one", FIXED, options.rounds)
        pace(client, "four calls at a time", "wide", FIXED, options.rounds)
        pace(client, "a short queue", "queued", FIXED, options.rounds)
    return None


if __name__ == "__main__":
    main()
