"""Check memory and file descriptors over many calls, in every style of calling, over gRPC and REST.

Each style runs in a separate process, against one server in another process; every answer is checked. Resident memory
and open file descriptors are measured after a tenth of the calls, when pools and caches are filled, repeatedly during
the run, and at the end, when the client is closed. The exit code is 1 if an answer is wrong or missing, if memory has
grown by more than 16 MB from the first measurement to the highest or the last, or if descriptors have grown by more
than 8.

    SOAK_CALLS=1000000 python benchmarks/soak.py [--only WORD ...]

SOAK_CALLS is the number of calls in each style (20,000 by default); each example counts as a call, even if one request
carries many. ``--only`` accepts styles: blocking, futures, aio, batched, many, micro, micro-aio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from processes import started

from tfs_client import AsyncMicroBatcher, AsyncPredictClient, MicroBatcher, PredictClient, TensorSpec
from tfs_client.server import FunctionSignature, Server, ServerConfig

CALLS = int(os.environ.get("SOAK_CALLS", "20000"))
GROWTH = 16.0  # MB
DESCRIPTORS = 8
LOOKS = 100
THREADS = 8
TIMEOUT = 60.0
ROW = "{:16} {:>9} {:>7} {:>6} {:>22} {:>18}  {}"


def serve() -> None:
    """Serve a model that doubles; prints the addresses, and stops at the end of standard input."""
    vector = TensorSpec("float32", (None,))
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model(
            "m", {"serving_default": FunctionSignature(lambda x: {"y": 2 * x}, {"x": vector}, {"y": vector})}
        )
        print(server.target, server.rest_url, flush=True)
        sys.stdin.read()


def resident(process: int | str = "self") -> float:
    """The resident memory of a process, in MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(process: int | str = "self") -> int:
    """The number of open files and sockets of a process."""
    return len(os.listdir(f"/proc/{process}/fd"))


class Looks:
    """A counter of calls that measures the process periodically."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.wrong = 0
        self.found: list[tuple[float, int]] = []
        self._done = 0
        self._lock = threading.Lock()

    def answered(self, right: bool, calls: int = 1) -> None:
        """Record answers."""
        with self._lock:
            before, self._done = self._done, self._done + calls
            self.wrong += not right
            first, step = self.calls // 10, max(1, self.calls // LOOKS)
            if self._done >= first and before // step != self._done // step:
                self.found.append((resident(), descriptors()))

    def result(self) -> dict[str, Any]:
        """The measurements."""
        memory, files = zip(*self.found, (resident(), descriptors()), strict=True)
        return {
            "calls": self._done,
            "wrong": self.wrong,
            "memory": (memory[0], max(memory), memory[-1]),
            "files": (files[0], max(files), files[-1]),
        }


def _is(found: Any, number: int) -> bool:
    return bool(np.ravel(found["y"]).tolist() == [2 * (number % 1000)])


def _x(number: int) -> dict[str, Any]:
    return {"x": np.float32([number % 1000])}


def _one(number: int) -> dict[str, Any]:
    return {"x": np.float32(number % 1000)}


def _in_threads(calls: int, call: Callable[[int], None]) -> None:
    numbers = count()

    def work() -> None:
        while (number := next(numbers)) < calls:
            call(number)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def blocking(target: str, looks: Looks) -> None:
    """``predict`` from eight threads."""
    with PredictClient(target, model="m", timeout=TIMEOUT) as client:
        _in_threads(looks.calls, lambda number: looks.answered(_is(client.predict(_x(number)), number)))


def futures(target: str, looks: Looks) -> None:
    """``predict_future``, thirty-two calls at a time."""
    with PredictClient(target, model="m", timeout=TIMEOUT) as client:
        waiting: deque[tuple[int, Any]] = deque()
        for number in range(looks.calls):
            waiting.append((number, client.predict_future(_x(number))))
            if len(waiting) == 32:
                first, future = waiting.popleft()
                looks.answered(_is(future.result(), first))
        for number, future in waiting:
            looks.answered(_is(future.result(), number))


def aio(target: str, looks: Looks) -> None:
    """Asyncio tasks, thirty-two at a time."""

    async def run() -> None:
        numbers = iter(range(looks.calls))
        async with AsyncPredictClient(target, model="m", timeout=TIMEOUT) as client:

            async def work() -> None:
                for number in numbers:
                    looks.answered(_is(await client.predict(_x(number)), number))

            await asyncio.gather(*(work() for _ in range(32)))

    asyncio.run(run())


def batched(target: str, looks: Looks) -> None:
    """``predict_batched``, a thousand rows in requests of fifty."""
    rows = np.arange(1000, dtype=np.float32)
    with PredictClient(target, model="m", timeout=TIMEOUT) as client:
        for _ in range(0, looks.calls, 1000):
            looks.answered(np.array_equal(client.predict_batched({"x": rows}, batch_size=50).array, 2 * rows), 1000)


def many(target: str, looks: Looks) -> None:
    """``predict_many``, one stream in requests of twenty."""
    with PredictClient(target, model="m", timeout=TIMEOUT) as client:
        for number, found in enumerate(client.predict_many(map(_one, range(looks.calls)), batch_size=20)):
            looks.answered(_is(found, number))


def micro(target: str, looks: Looks) -> None:
    """``MicroBatcher.predict`` from eight threads."""
    with PredictClient(target, model="m", timeout=TIMEOUT) as client, MicroBatcher(client) as batcher:
        _in_threads(looks.calls, lambda number: looks.answered(_is(batcher.predict(_one(number)), number)))


def micro_aio(target: str, looks: Looks) -> None:
    """``AsyncMicroBatcher.predict``, sixty-four tasks."""

    async def run() -> None:
        numbers = iter(range(looks.calls))
        async with (
            AsyncPredictClient(target, model="m", timeout=TIMEOUT) as client,
            AsyncMicroBatcher(client) as batcher,
        ):

            async def work() -> None:
                for number in numbers:
                    looks.answered(_is(await batcher.predict(_one(number)), number))

            await asyncio.gather(*(work() for _ in range(64)))

    asyncio.run(run())


STYLES: dict[str, Callable[[str, Looks], None]] = {
    "blocking": blocking,
    "futures": futures,
    "aio": aio,
    "batched": batched,
    "many": many,
    "micro": micro,
    "micro-aio": micro_aio,
}


@contextmanager
def running() -> Iterator[tuple[int, str, str]]:
    """Run the server in a separate process; yields its process id, and its gRPC and REST addresses."""
    with started(__file__, "--serve") as (process, (target, url)):
        yield process.pid, target, url


def soaked(style: str, target: str) -> dict[str, Any]:
    """Run a style in a separate process."""
    command = [sys.executable, __file__, "--style", style, "--target", target]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600 + CALLS / 50)
    if done.returncode:
        raise RuntimeError(f"{style} at {target} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def show(name: str, found: dict[str, Any], seconds: float) -> bool:
    """Print a row; returns whether it is within the limits."""
    memory, files = found["memory"], found["files"]
    good = found["calls"] >= CALLS and not found["wrong"]
    good = good and max(memory) - memory[0] <= GROWTH and max(files) - files[0] <= DESCRIPTORS
    print(
        ROW.format(
            name,
            f"{found['calls']:,}",
            found["wrong"],
            f"{seconds:.0f}",
            " ".join(f"{one:6.1f}" for one in memory),
            " ".join(f"{one:4}" for one in files),
            "" if good else "<-- not good enough",
        ),
        flush=True,
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(STYLES), choices=STYLES)
    for hidden in ("--style", "--target"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    if options.style:
        looks = Looks(CALLS)
        STYLES[options.style](options.target, looks)
        print(json.dumps(looks.result()))
        return 0
    print(machine("grpcio", "httpx", "numpy"))
    print(ROW.format("style", "calls", "wrong", "s", "MB: first, peak, end", "files: the same", ""))
    good = True
    with running() as (server, *targets):
        served: list[tuple[float, int]] = []
        for way, target in zip(("gRPC", "REST"), targets, strict=True):
            for style in options.only:
                began = time.perf_counter()
                found = soaked(style, target)
                good &= show(f"{way} {style}", found, time.perf_counter() - began)
                served.append((resident(server), descriptors(server)))
    memory, files = zip(*served, strict=True)
    print(f"the server, after the first style: {memory[0]:.1f} MB, {files[0]} files", end="; ")
    print(f"after the last: {memory[-1]:.1f} MB, {files[-1]} files")
    print("flat" if good else "NOT flat")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
