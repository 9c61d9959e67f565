"""A load generator and a queue in virtual time: M/M/c, M/D/c, or any service time, from a seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import numpy as np

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.stages import ClosedLoop, Enough, OpenLoop, Progress, RecordedPace, Stage

Service = Callable[[np.random.Generator, int], np.ndarray]
TICK = 0.25


def exponential(mean: float) -> Service:
    return lambda random, count: random.exponential(mean, count)


def fixed(seconds: float) -> Service:
    return lambda random, count: np.full(count, seconds)


class SimulatedGenerator:
    """``servers`` queues share one line; a request that takes longer than ``deadline`` fails."""

    def __init__(self, service: Service, servers: int = 1, *, seed: int = 0, deadline: float = 60.0) -> None:
        self.service = service
        self.servers = servers
        self.deadline = deadline
        self.random = np.random.default_rng(seed)
        self.stages: list[Stage] = []
        self.seconds = 0.0  # virtual time that all stages took

    def close(self) -> None:
        pass

    def run(self, stage: Stage, progress: Progress | None = None, enough: Enough | None = None) -> Measured:
        self.stages.append(stage)
        end = stage.warmup + stage.seconds
        starts, finishes = self._requests(stage, end)
        watched = progress is not None or enough is not None
        for tick in np.arange(stage.warmup + TICK, end + TICK / 2, TICK).tolist() if watched else ():
            measured = self._measured(stage, starts, finishes, min(tick, end), finished_only=True)
            if progress:
                progress(measured)
            if enough and enough(measured):
                end = min(tick, end)
                break
        self.seconds += end
        return self._measured(stage, starts, finishes, end, finished_only=False)

    def _requests(self, stage: Stage, end: float) -> tuple[np.ndarray, np.ndarray]:
        load = stage.load
        assert not isinstance(load, RecordedPace)
        if isinstance(load, ClosedLoop):
            return self._closed(load.concurrency, end)
        starts = self._arrivals(load, end)
        services = self.service(self.random, len(starts))
        if self.servers == 1:
            # The wait follows from the work that arrived and the time that passed, without a loop.
            before = np.cumsum(services) - services - starts
            waits = before - np.minimum.accumulate(before)
            return starts, starts + waits + services
        free = [0.0] * self.servers
        finishes = np.empty(len(starts))
        for index, (start, service) in enumerate(zip(starts.tolist(), services.tolist(), strict=True)):
            finish = max(start, free[0]) + service
            heapq.heapreplace(free, finish)
            finishes[index] = finish
        return starts, finishes

    def _arrivals(self, load: OpenLoop, end: float) -> np.ndarray:
        if load.arrivals == "fixed":
            return np.arange(0, end, 1 / load.rate)
        count = int(load.rate * end + 6 * np.sqrt(load.rate * end) + 20)
        starts = np.cumsum(self.random.exponential(1 / load.rate, count))
        return starts[starts < end]

    def _closed(self, concurrency: int, end: float) -> tuple[np.ndarray, np.ndarray]:
        callers, free = [0.0] * concurrency, [0.0] * self.servers
        starts: list[float] = []
        finishes: list[float] = []
        services: Iterator[float] = iter(())
        while callers[0] < end:
            service = next(services, -1.0)
            if service < 0:
                services = iter(self.service(self.random, 4096).tolist())
                service = next(services)
            start = callers[0]
            finish = max(start, free[0]) + service
            heapq.heapreplace(free, finish)
            heapq.heapreplace(callers, finish)
            starts.append(start)
            finishes.append(finish)
        return np.array(starts), np.array(finishes)

    def _measured(
        self, stage: Stage, starts: np.ndarray, finishes: np.ndarray, now: float, *, finished_only: bool
    ) -> Measured:
        sent = (starts >= stage.warmup) & (starts < now)
        answered = sent & (finishes <= now) if finished_only else sent
        latencies = (finishes - starts)[answered]
        late = latencies > self.deadline
        latencies = latencies[~late]
        arrived = (finishes > stage.warmup) & (finishes <= now) & (finishes - starts <= self.deadline)
        measured = Measured(seconds=now - stage.warmup, sent=int(sent.sum()), rows=len(latencies))
        measured.arrived = int(arrived.sum())
        measured.latency.record_all(latencies)
        measured.service.add(measured.latency)
        measured.good = int((latencies <= (stage.bound or np.inf)).sum())
        if late.any():
            measured.errors["DEADLINE_EXCEEDED"] = int(late.sum())
        return measured
