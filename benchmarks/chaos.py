"""Check calls while servers are killed and stopped, connections are reset and slowed down, and versions are swapped.

tfs-serve runs in a separate process, on loopback, with a model that multiplies by its version number. Blocking calls,
futures, predict_many and asyncio tasks call it at the same time, each with different inputs, so that every answer can
be checked. The output has a row for each scenario and protocol, which counts

    calls    all calls
    failed   calls that ended with an error
    late     calls that ended, with a result or an error, more than two seconds after their deadline
    wrong    answers that are not the product of the call's own input and a version
    twice    calls with more than one outcome, or none

and states the scenario's guarantee. The exit code is 1 if a guarantee is broken.

    CHAOS_SECONDS=60 python benchmarks/chaos.py [--only WORD ...]

CHAOS_SECONDS is the duration of each scenario with a load. ``--only`` accepts kill, stop, reset, drip, swap and burst.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from faults import Link, Serve, put
from measure import machine

from tfs_client import AsyncPredictClient, PredictClient, RetryPolicy
from tfs_client.errors import DeadlineExceededError, ResourceExhaustedError, TFServingError, UnavailableError

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SLACK = 2.0  # seconds by which an outcome may miss its deadline
TIMEOUT = 30.0
DRIP_TIMEOUT = 0.5
PAUSE = 0.005  # seconds between two calls of one caller: the faults are the load, not the calls
BURST = 4000
ROW = "{:28} {:>8} {:>7} {:>6} {:>6} {:>6}  {}"


@dataclass
class Ledger:
    """All calls and their outcomes.

    Attributes:
        timeout: seconds that each call has.
        errors: how many calls ended with which error.
    """

    timeout: float
    errors: Counter[str] = field(default_factory=Counter)
    late: int = 0
    wrong: int = 0
    _began: dict[int, float] = field(default_factory=dict)
    _outcomes: Counter[int] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> int:
        """The number of a new call, which is also its input."""
        with self._lock:
            number = next(self._numbers)
            self._began[number] = time.monotonic()
            return number

    def end(self, number: int, found: Any) -> None:
        """Record an outcome: a Prediction or an error."""
        now = time.monotonic()
        with self._lock:
            self._outcomes[number] += 1
            self.late += now - self._began[number] > self.timeout + SLACK
            if isinstance(found, BaseException):
                self.errors[str(found)[:300] if not isinstance(found, TFServingError) else _kind(found)] += 1
            else:
                self.wrong += not _right(number, found)

    @property
    def calls(self) -> int:
        """The number of calls that were started."""
        return len(self._began)

    @property
    def failed(self) -> int:
        """The number of calls that ended with an error."""
        return sum(self.errors.values())

    @property
    def twice(self) -> int:
        """The number of calls without exactly one outcome."""
        return sum(self._outcomes[number] != 1 for number in self._began)


def _kind(error: TFServingError) -> str:
    return type(error).__name__


def _right(number: int, found: Any) -> bool:
    """Whether an answer is the product of the call's own input and the version that answered."""
    (value,) = np.ravel(found["y"]).tolist()
    version = found.model.version if found.model is not None else None
    if version is not None:
        return bool(value == number * version)
    return bool(value % number == 0 and 1 <= value // number <= 10_000)  # REST does not report the version


def x(number: int) -> dict[str, Any]:
    """The inputs of a call."""
    return {"x": np.float64([number])}


# --- callers ---------------------------------------------------------------------------------------------------------


def blocking(client: PredictClient, ledger: Ledger, over: threading.Event) -> None:
    """Sequential calls."""
    while not over.wait(PAUSE):
        number = ledger.begin()
        try:
            found: Any = client.predict(x(number))
        except TFServingError as error:
            found = error
        ledger.end(number, found)


def futures(client: PredictClient, ledger: Ledger, over: threading.Event) -> None:
    """Eight futures at a time."""

    def ended(future: Future[Any], number: int) -> None:
        ledger.end(number, future.exception() or future.result())

    while not over.wait(4 * PAUSE):
        begun = []
        for number in [ledger.begin() for _ in range(8)]:
            future = client.predict_future(x(number))
            future.add_done_callback(lambda future, number=number: ended(future, number))
            begun.append(future)
        for future in begun:
            future.exception()


def many(client: PredictClient, ledger: Ledger, over: threading.Event) -> None:
    """Streams of forty examples."""
    while not over.wait(4 * PAUSE):
        numbers: list[int] = []

        def source(numbers: list[int] = numbers) -> Iterator[dict[str, Any]]:
            for _ in range(40):
                numbers.append(ledger.begin())
                yield {"x": x(numbers[-1])["x"][0]}

        for position, found in enumerate(client.predict_many(source(), batch_size=8, in_flight=2, on_error="return")):
            ledger.end(numbers[position], found)


def with_tasks(target: str, options: dict[str, Any], ledger: Ledger, over: threading.Event) -> None:
    """Eight concurrent tasks in a separate event loop."""

    async def call(client: AsyncPredictClient) -> None:
        number = ledger.begin()
        try:
            found: Any = await client.predict(x(number))
        except TFServingError as error:
            found = error
        ledger.end(number, found)

    async def run() -> None:
        async with AsyncPredictClient(target, **options) as client:
            while not over.is_set():
                await asyncio.gather(*(call(client) for _ in range(8)))
                await asyncio.sleep(4 * PAUSE)

    asyncio.run(run())


@contextmanager
def load(target: str, ledger: Ledger, **options: Any) -> Iterator[None]:
    """Call a server in all styles within the context; every call has ended when it exits."""
    options = {"model": "m", "timeout": ledger.timeout, **options}
    over = threading.Event()
    with PredictClient(target, **options) as client:
        threads = [
            threading.Thread(target=one, args=(client, ledger, over)) for one in (blocking, blocking, futures, many)
        ]
        threads.append(threading.Thread(target=with_tasks, args=(target, options, ledger, over)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            end = time.monotonic() + ledger.timeout * 3 + 60
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        raise RuntimeError("calls did not come to their end")


# --- scenarios -------------------------------------------------------------------------------------------------------


class Report:
    """The table, and whether every guarantee held."""

    def __init__(self) -> None:
        self.good = True
        print(ROW.format("scenario", "calls", "failed", "late", "wrong", "twice", "guarantee"), flush=True)

    def row(self, name: str, ledger: Ledger, guarantee: str, kept: bool) -> None:
        """Print a scenario's row. Every scenario guarantees that late, wrong and twice are 0."""
        kept = kept and not ledger.late and not ledger.wrong and not ledger.twice and ledger.calls > 0
        self.good &= kept
        numbers = (ledger.calls, ledger.failed, ledger.late, ledger.wrong, ledger.twice)
        print(ROW.format(name, *numbers, guarantee if kept else f"{guarantee}  <-- BROKEN"), flush=True)
        for kind, times in ledger.errors.most_common(5):
            print(f"    {times} x {kind}", flush=True)


def every(seconds: float, do: Callable[[], object]) -> None:
    """Repeat an action for the duration of a scenario."""
    end = time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(seconds, left))
        if time.monotonic() < end:
            do()


def kill(report: Report, serve: Serve, way: str, target: str) -> None:
    """Kill the server with SIGKILL every three seconds, and start it again."""
    ledger = Ledger(TIMEOUT)

    def killed() -> None:
        serve.kill()
        serve.start()

    with load(target, ledger, retry=RetryPolicy()):
        every(3.0, killed)
    report.row(f"kill -9 every 3 s, {way}", ledger, "0 failed, with RetryPolicy", not ledger.failed)


def stop(report: Report, serve: Serve, way: str, target: str) -> None:
    """Stop the server for a second, every three seconds."""
    ledger = Ledger(TIMEOUT)

    def stopped() -> None:
        serve.send(signal.SIGSTOP)
        time.sleep(1.0)
        serve.send(signal.SIGCONT)

    with load(target, ledger, retry=RetryPolicy()):
        every(2.0, stopped)
    report.row(f"SIGSTOP for 1 s, {way}", ledger, "0 failed", not ledger.failed)


def reset(report: Report, link: Link, way: str, target: str) -> None:
    """Reset all connections, twice a second."""
    ledger = Ledger(TIMEOUT)
    with load(target, ledger, retry=RetryPolicy()):
        every(0.5, link.reset)
    report.row(f"resets twice a second, {way}", ledger, "0 failed, with RetryPolicy", not ledger.failed)


def drip(report: Report, link: Link, way: str, target: str) -> None:
    """Send replies a byte at a time, too slowly for any call."""
    ledger = Ledger(DRIP_TIMEOUT)
    link.piece, link.pause = 1, 0.05
    try:
        with load(target, ledger, retry=RetryPolicy()):
            every(1.0, lambda: None)
    finally:
        link.pause = 0.0
        link.reset()
    others = set(ledger.errors) - {DeadlineExceededError.__name__}
    report.row(f"slow drip, {way}", ledger, "errors are DEADLINE_EXCEEDED, in time", not others)


def swap(report: Report, serve: Serve, way: str, target: str) -> None:
    """Load another version every second."""
    ledger = Ledger(TIMEOUT)
    versions = count(1 + max(int(path.name) for path in serve.base.iterdir()))
    with load(target, ledger):
        every(1.0, lambda: put(serve.base, next(versions)))
    report.row(f"a version a second, {way}", ledger, "0 failed, without RetryPolicy", not ledger.failed)


async def _burst(target: str, ledger: Ledger, **options: Any) -> None:
    async with AsyncPredictClient(target, model="m", timeout=ledger.timeout, **options) as client:

        async def call() -> None:
            number = ledger.begin()
            try:
                found: Any = await client.predict(x(number))
            except TFServingError as error:
                found = error
            ledger.end(number, found)

        await asyncio.gather(*(call() for _ in range(BURST)))


def burst(report: Report, target: str) -> None:
    """Make thousands of concurrent calls."""
    with_retries = Ledger(60.0)
    asyncio.run(_burst(target, with_retries, retry=RetryPolicy()))
    report.row(f"{BURST} tasks, RetryPolicy", with_retries, "0 failed within 60 s", not with_retries.failed)
    without = Ledger(60.0)
    asyncio.run(_burst(target, without))
    others = set(without.errors) - {UnavailableError.__name__, ResourceExhaustedError.__name__}
    kept = without.failed <= BURST / 10 and not others
    report.row(f"{BURST} tasks, no retries", without, "90 % answered, others may be retried", kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=["kill", "stop", "reset", "drip", "swap", "burst"])
    only = parser.parse_args().only
    print(machine("grpcio", "httpx", "numpy"))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        serve = Serve(Path(folder), "--file_system_poll_wait_seconds=1")
        serve.start()
        links = [Link(serve.port), Link(serve.rest_port)]
        try:
            for way, port, link, scheme in zip(
                ("gRPC", "REST"), (serve.port, serve.rest_port), links, ("", "http://"), strict=True
            ):
                direct, linked = f"{scheme}127.0.0.1:{port}", f"{scheme}127.0.0.1:{link.port}"
                for name, function, first, target in (
                    ("kill", kill, serve, direct),
                    ("stop", stop, serve, direct),
                    ("reset", reset, link, linked),
                    ("drip", drip, link, linked),
                    ("swap", swap, serve, direct),
                ):
                    if name in only:
                        function(report, first, way, target)
            if "burst" in only:
                burst(report, f"127.0.0.1:{serve.port}")
        finally:
            for link in links:
                link.close()
            serve.kill()
    print("every guarantee held" if report.good else "a guarantee was BROKEN")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
