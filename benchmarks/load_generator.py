"""Measure how many requests per second the load generator of tfs-bench sends, compared with raw gRPC.

A closed loop of small requests runs against one server in a separate process: with the generator's engine, which
encodes, decodes and measures each request, and with bare calls that carry the same bytes, in the styles of gRPC:
asyncio, futures whose callbacks send the next request, and threads. The styles alternate, and the figure is the ratio
of the median rates. "CPU" is that of the client per request.

    python benchmarks/load_generator.py [--rounds 7] [--seconds 1.5] [--styles aio,engine] [--processes 2]

With ``--processes`` the engine runs in several client processes, beside as many that make bare calls with asyncio.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import grpc
import grpc.aio
import numpy as np
from bare_server import UNLIMITED, running
from measure import duration, machine, median

from tfs_client import AsyncPredictClient, Prediction
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.cli.bench.engine import Engine
from tfs_client.cli.bench.processes import Processes
from tfs_client.cli.bench.stages import ClosedLoop, Stage

X = np.arange(10, dtype=np.float32)
REQUEST = predict_messages.write_request(ModelSpec("m"), {"x": X})
REPLY = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": X}, typed=True)
WARMUP = 0.3  # seconds

Rate = tuple[float, float]  # requests per second, and the client's CPU per request


@dataclass
class Small:
    """A request of 40 bytes of values."""

    rows: int = 1
    at: float | None = None

    async def send(self, client: AsyncPredictClient) -> Prediction:
        return await client.predict({"x": X})

    def difference(self, answer: Any) -> str:
        return ""


class SmallOnes:
    def make(self) -> Sequence[Small]:
        return [Small()]


@dataclass
class MakeClient:
    target: str

    def __call__(self) -> AsyncPredictClient:
        return AsyncPredictClient(self.target, model="m")


def engine(target: str, in_flight: int, seconds: float, new_loop: Any = None) -> Rate:
    options = {} if new_loop is None else {"new_loop": new_loop}
    made = Engine(SmallOnes(), MakeClient(target), **options)
    try:
        measured = made.run(Stage(ClosedLoop(in_flight), seconds, WARMUP))
    finally:
        made.close()
    assert not measured.failed
    return measured.throughput, measured.cpu / measured.answered


def engine_uvloop(target: str, in_flight: int, seconds: float) -> Rate:
    import uvloop

    return engine(target, in_flight, seconds, uvloop.new_event_loop)


def aio(target: str, in_flight: int, seconds: float) -> Rate:
    return asyncio.run(_aio(target, in_flight, seconds))


async def _aio(target: str, in_flight: int, seconds: float) -> Rate:
    window = _Window(seconds)
    async with grpc.aio.insecure_channel(target, options=UNLIMITED) as channel:
        call = channel.unary_unary(Predict.path)

        async def caller() -> None:
            while window.goes_on():
                await call(REQUEST, timeout=30)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
    return window.rate()


def futures(target: str, in_flight: int, seconds: float) -> Rate:
    window, ended = _Window(seconds), threading.Semaphore(0)
    with grpc.insecure_channel(target, options=UNLIMITED) as channel:
        call = channel.unary_unary(Predict.path)

        def send(_: object = None) -> None:
            if window.goes_on():
                call.future(REQUEST, timeout=30).add_done_callback(send)
            else:
                ended.release()

        for _ in range(in_flight):
            send()
        for _ in range(in_flight):
            ended.acquire()
    return window.rate()


def threads(target: str, in_flight: int, seconds: float) -> Rate:
    window = _Window(seconds)
    with grpc.insecure_channel(target, options=UNLIMITED) as channel:
        call = channel.unary_unary(Predict.path)

        def caller() -> None:
            while window.goes_on():
                call(REQUEST, timeout=30)

        callers = [threading.Thread(target=caller) for _ in range(in_flight)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    return window.rate()


class _Window:
    """Counts the requests that start within the measured time, as the engine does."""

    def __init__(self, seconds: float) -> None:
        self._begin = perf_counter() + WARMUP
        self._seconds = seconds
        self._count = 0
        self._cpu: float | None = None
        self._used = 0.0

    def goes_on(self) -> bool:
        now = perf_counter() - self._begin
        if now < 0:
            return True
        if self._cpu is None:
            self._cpu = process_time()
        if now < self._seconds:
            self._count += 1
            return True
        self._used = self._used or process_time() - self._cpu
        return False

    def rate(self) -> Rate:
        return self._count / self._seconds, self._used / self._count


def engine_processes(target: str, in_flight: int, seconds: float, processes: int) -> Rate:
    made = Processes(SmallOnes(), MakeClient(target), processes)
    try:
        measured = made.run(Stage(ClosedLoop(in_flight), seconds, WARMUP))
    finally:
        made.close()
    return measured.throughput, measured.cpu / measured.answered


def aio_processes(target: str, in_flight: int, seconds: float, processes: int) -> Rate:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    arguments = (target, in_flight // processes, seconds, barrier, results)
    children = [context.Process(target=_aio_child, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    rates = [results.get() for _ in children]
    for child in children:
        child.join()
    whole = sum(rate for rate, _ in rates)
    return whole, sum(rate * cpu for rate, cpu in rates) / whole


def _aio_child(target: str, in_flight: int, seconds: float, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    results.put(aio(target, in_flight, seconds))


STYLES: dict[str, Callable[[str, int, float], Rate]] = {
    "aio": aio,
    "futures": futures,
    "threads": threads,
    "engine": engine,
    "engine_uvloop": engine_uvloop,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--styles", default="aio,futures,threads,engine", help=f"of {','.join(STYLES)}")
    parser.add_argument("--in-flight", default="1,16,64")
    parser.add_argument("--processes", type=int, default=1, help="client processes; then only aio and engine")
    options = parser.parse_args()
    styles = {name: STYLES[name] for name in options.styles.split(",")}
    if options.processes > 1:
        count = options.processes
        styles = {
            "aio": lambda *arguments: aio_processes(*arguments, count),
            "engine": lambda *arguments: engine_processes(*arguments, count),
        }
    print(machine("grpcio", "numpy", "uvloop"))
    print(f"{'in flight':>9}  {'style':14} {'per second':>10} {'CPU':>8}  ratio to the fastest raw style")
    with running() as target:
        with grpc.insecure_channel(target) as channel:
            channel.unary_unary("/bench/Reply")(REPLY)
        for in_flight in map(int, options.in_flight.split(",")):
            if in_flight < options.processes:
                continue
            found: dict[str, list[Rate]] = {name: [] for name in styles}
            for turn in range(options.rounds):
                names = list(styles)
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    found[name].append(styles[name](target, in_flight, options.seconds))
            rates = {name: median([rate for rate, _ in each]) for name, each in found.items()}
            fastest = max((rate for name, rate in rates.items() if not name.startswith("engine")), default=0.0)
            for name, rate in rates.items():
                cpu = median([cpu for _, cpu in found[name]])
                ratio = f"{rate / fastest:.3f}" if fastest else "-"
                print(f"{in_flight:>9}  {name:14} {rate:>10,.0f} {duration(cpu):>8}  {ratio}")


if __name__ == "__main__":
    main()
