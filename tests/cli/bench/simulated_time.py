"""Simulated time and simulated servers: stages run as fast as the processor allows, and give the same each time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfs_client.cli.bench.engine import Engine
from tfs_client.results import Timing


class _Selector(selectors.DefaultSelector):
    """Lets time pass instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("the event loop waits for nothing")
        self.now += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


@dataclass
class Answered:
    timing: Timing | None = None


@dataclass
class Server:
    """A model of a server, with one queue.

    Attributes:
        service: seconds of each request in turn.
        workers: how many requests it works on at once; None for all.
        started: when each request came, in the loop's time.
    """

    service: Callable[[], float]
    workers: int | None = 1
    started: list[float] = field(default_factory=list)
    _free_at: float = 0.0

    async def answer(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.started.append(now)
        begin = now if self.workers is None else max(now, self._free_at)
        self._free_at = begin + self.service()
        done = loop.create_future()
        loop.call_at(self._free_at, _release, done)
        await done


def _release(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


@dataclass
class SimulatedQuery:
    server: Server
    rows: int = 1
    at: float | None = None
    error: Exception | None = None
    wrong: str = ""

    async def send(self, client: object) -> Answered:
        await self.server.answer()
        if self.error is not None:
            raise self.error
        return Answered(Timing(0.001, 0.002, 0.003))

    def difference(self, answer: object) -> str:
        return self.wrong


@dataclass
class SimulatedQueries:
    queries: Sequence[SimulatedQuery]

    def make(self) -> Sequence[SimulatedQuery]:
        return self.queries


class NoClient:
    closed = False

    async def close(self) -> None:
        self.closed = True


def engine_of(*queries: SimulatedQuery, **options: Any) -> Engine:
    """An engine in simulated time."""
    options.setdefault("new_loop", SimulatedLoop)
    return Engine(SimulatedQueries(queries), NoClient, **options)  # type: ignore[arg-type]


def random_chunks(draw: Callable[[int], np.ndarray]) -> Callable[[], float]:
    """A function that returns one random number at a time, drawn in bulk."""
    numbers: Iterator[float] = iter(())

    def one() -> float:
        nonlocal numbers
        number = next(numbers, None)
        if number is None:
            numbers = iter(draw(8192).tolist())
            number = next(numbers)
        return number

    return one
