"""Measure the cost of a picture for client and server, the rate of replicas, and the memory of a worker.

A drawn photograph of 640 x 480 pixels, as JPEG, becomes 224 x 224 x 3 float32; tiny servers in separate processes
answer with 1000 scores. CPU is per picture, for all threads of the process. The model of the last table costs 20 ms a
request and runs one request at a time, as an accelerator does. The figures are medians of the rounds; every answer is
checked.

    python benchmarks/scale.py [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from time import perf_counter, process_time

import numpy as np
from measure import cpu_of, duration, machine, peak_memory
from photographs import photograph
from processes import started

from tfs_client import PredictClient, TensorSpec, images
from tfs_client.ray import Predictor
from tfs_client.server import FunctionServable, FunctionSignature, Server

SIDE, CLASSES = 224, 1000
SPEC = TensorSpec("float32", (None, SIDE, SIDE, 3))
BATCH, IN_FLIGHT = 32, 4
BUSY = 0.020  # seconds that the slow model takes for a request, with any number of rows
SMALL = 16
FED = (1, 2, 4, 8)


def scores(x: np.ndarray) -> np.ndarray:
    """The model, at almost no cost: one pixel of every picture, a thousand times."""
    return np.repeat(x[:, :1, 0, 0], CLASSES, axis=1)


def servable(function: Callable[[np.ndarray], np.ndarray], takes: TensorSpec, gives: TensorSpec) -> FunctionServable:
    """A model with one input and one output."""
    return FunctionServable({"serving_default": FunctionSignature(function, {"x": takes}, {"y": gives})})


def serve() -> None:
    """Serve both models; prints the port, and stops at the end of standard input."""
    accelerator = threading.Lock()

    def slow(x: np.ndarray) -> np.ndarray:
        with accelerator:
            time.sleep(BUSY)
        return x

    row = TensorSpec("float32", (None, SMALL))
    with Server() as server:
        server.add_model("scores", servable(scores, SPEC, TensorSpec("float32", (None, CLASSES))))
        server.add_model("slow", servable(slow, row, row))
        print(server.port, flush=True)
        sys.stdin.read()


def work(target: str) -> None:
    """Run a worker: send a batch of a table to a model, and print the peak memory of this process, in MB."""
    rows = BATCH * IN_FLIGHT
    with Predictor(target, model="scores", inputs="x", keep=[]) as predict:
        predict({"x": np.zeros((1, SIDE, SIDE, 3), np.float32)})
        before = peak_memory() / 1e6
        batch = {"x": np.ones((rows, SIDE, SIDE, 3), np.float32)}
        for _ in range(3):
            predict(batch)
    print(f"{before:.0f} {batch['x'].nbytes / 1e6:.0f} {peak_memory() / 1e6:.0f}")


class Cost:
    """Seconds for a picture: elapsed time, client CPU, server CPU."""

    def __init__(self, name: str, send: Callable[[], None], pictures: int, repeat: int) -> None:
        self.name = name
        self._send = send
        self._pictures = pictures * repeat
        self._repeat = repeat
        self._found: list[tuple[float, float, float]] = []

    def take(self, server: int) -> None:
        began = perf_counter(), process_time(), cpu_of(server)
        for _ in range(self._repeat):
            self._send()
        ended = perf_counter(), process_time(), cpu_of(server)
        self._found.append(tuple((end - begin) / self._pictures for begin, end in zip(began, ended, strict=True)))

    @property
    def seconds(self) -> tuple[float, float, float]:
        return tuple(median(column) for column in zip(*self._found, strict=True))


def costs(target: str, server: int, rounds: int) -> None:
    """Print the cost of a picture."""
    file = photograph()
    preparation = images.plan(SPEC)

    def decoded() -> np.ndarray:
        return images.to_array(images.load_image(file), preparation)

    one = decoded()
    print(
        f"a picture: 640 x 480, a JPEG of {len(file) / 1e3:.0f} kB, becomes {SIDE} x {SIDE} x 3 float32, "
        f"{one.nbytes / 1e6:.1f} MB; the answer: {CLASSES} float32\n"
    )
    with PredictClient(target, model="scores", timeout=60) as client:

        def sent(rows: int) -> Callable[[], None]:
            batch = np.repeat(one, rows, axis=0)

            def send() -> None:
                found = client.predict({"x": batch})["y"]
                assert found.shape == (rows, CLASSES)
                assert (found == batch[0, 0, 0, 0]).all()

            return send

        large = np.repeat(one, BATCH * 8, axis=0)

        def pipelined() -> None:
            found = client.predict_batched({"x": large}, batch_size=BATCH, in_flight=IN_FLIGHT)["y"]
            assert found.shape == (len(large), CLASSES)
            assert (found == large[0, 0, 0, 0]).all()

        ways = [
            Cost("decode", lambda: decoded() is None, 1, 200),
            Cost("predict, batch 1", sent(1), 1, 200),
            Cost("predict, batch 8", sent(8), 8, 40),
            Cost("predict, batch 32", sent(32), 32, 12),
            Cost(f"predict_batched, {BATCH} x {IN_FLIGHT}", pipelined, len(large), 2),
        ]
        for turn in range(-1, rounds):
            for way in ways:
                way.take(server)
                if turn < 0:  # for warming up
                    way._found.clear()
    print(f"{'per picture':24} {'time':>9} {'client CPU':>11} {'server CPU':>11}")
    for way in ways:
        clock, own, servers = way.seconds
        shown = duration(servers) if way.name != "decode" else "-"
        print(f"{way.name:24} {duration(clock):>9} {duration(own):>11} {shown:>11}")
    decode, send, receive = ways[0].seconds[1], ways[-1].seconds[1], ways[-1].seconds[2]
    print(
        f"\na core of the client: {1 / decode:.0f} pictures/s decoded, {1 / send:.0f} sent, "
        f"{1 / (decode + send):.0f} decoded and sent; a core of the tiny server: {1 / receive:.0f} received\n"
    )


def feeding(targets: list[str], rounds: int) -> None:
    """Print the rows per second of the replicas, by the number of requests in flight."""
    rows = np.random.default_rng(1).random((BATCH * 48, SMALL), np.float32)
    ways = {"1 replica": targets[:1], "2 replicas": targets}
    print(f"model: {BUSY * 1e3:g} ms a request of {BATCH} rows, one at a time: at most {BATCH / BUSY:.0f} rows/s each")
    print(f"{'in flight':10}" + "".join(f"{name:>14}" for name in ways))
    with ExitStack() as stack:
        clients = [stack.enter_context(PredictClient(found, model="slow", timeout=60)) for found in ways.values()]
        for in_flight in FED:
            rates = []
            for client in clients:
                taken = []
                for _ in range(rounds):
                    began = perf_counter()
                    found = client.predict_batched({"x": rows}, batch_size=BATCH, in_flight=in_flight)["y"]
                    taken.append(perf_counter() - began)
                    assert np.array_equal(found, rows)
                rates.append(len(rows) / median(taken))
            print(f"{in_flight:<10}" + "".join(f"{rate:>7.0f} rows/s" for rate in rates))


def memory(target: str) -> None:
    """Print the memory of a worker."""
    with started(__file__, "--work", target) as (_, (before, batch, peak)):
        print(
            f"\na worker, as a process: {before} MB with its client, {peak} MB at most with a batch of {batch} MB "
            f"({BATCH * IN_FLIGHT} rows, sent as {BATCH} x {IN_FLIGHT})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", metavar="TARGET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.work:
        return work(options.work)
    print(machine("grpcio", "numpy", "pillow", "tfs-client"))
    with started(__file__, "--serve") as (one, (port,)), started(__file__, "--serve") as (_, (other,)):
        targets = [f"127.0.0.1:{port}", f"127.0.0.1:{other}"]
        costs(targets[0], one.pid, options.rounds)
        feeding(targets, min(options.rounds, 3))
        memory(targets[0])
    return None


if __name__ == "__main__":
    main()
