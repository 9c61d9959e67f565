"""A model server in simulated time: requests of a pipeline travel, wait for a worker, are refused or answered."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Pipeline
from tfs_client.errors import UnavailableError

FULL = "The batch scheduling queue to which this task was submitted is full"


class Run(NamedTuple):
    """What came of a run.

    Attributes:
        seconds: simulated, until the last answer.
        refused: requests that the server refused.
        limits: when the pace had which limit.
        ended: when each request was answered.
    """

    seconds: float
    refused: int
    limits: list[tuple[float, int]]
    ended: list[float]

    def rate(self, begin: float = 0.0, end: float = float("inf")) -> float:
        """Answers per second between two times."""
        end = min(end, self.seconds)
        return sum(begin <= when < end for when in self.ended) / (end - begin)


def simulate(
    pace: Pace,
    requests: int,
    *,
    workers: int = 1,
    service: float | Callable[[float], float] = 0.004,
    travel: float = 0.0003,
    room: int | None = None,
    noise: float = 0.1,
    seed: int = 0,
) -> Run:
    """Send requests of one row through a pipeline.

    Args:
        workers: requests that the server works on at once.
        service: seconds of work for a request, or a function of the time that it begins.
        travel: seconds that a request, and an answer, is on its way.
        room: requests that may wait for a worker; more are refused. None for any number.
        noise: by which share the work varies.
    """
    chance = random.Random(seed)
    pipeline: Pipeline[range] = Pipeline(pace, 1, alone=False)
    pipeline.add(range(requests))
    events: list[tuple[float, int, str, object]] = []
    queue: deque[object] = deque()
    busy = refused = number = 0
    limits: list[tuple[float, int]] = []
    ended: list[float] = []
    now = 0.0

    def later(seconds: float, what: str, job: object) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (now + seconds, number, what, job))

    def work(job: object) -> None:
        nonlocal busy
        busy += 1
        seconds = service if isinstance(service, float) else service(now)
        later(seconds * chance.uniform(1 - noise, 1 + noise), "done", job)

    while True:
        while (job := pipeline.next(now)) is not None:
            later(travel, "arrives", job)
        if not limits or limits[-1][1] != pace.limit:
            limits.append((now, pace.limit))
        if pipeline.idle:
            return Run(now, refused, limits, ended)
        wait = pipeline.wait(now)
        if wait is not None and (not events or now + wait < events[0][0]):
            now += wait
            continue
        now, _, what, job = heapq.heappop(events)
        if what == "arrives":
            if busy < workers:
                work(job)
            elif room is None or len(queue) < room:
                queue.append(job)
            else:
                refused += 1
                later(travel, "refused", job)
        elif what == "done":
            busy -= 1
            later(travel, "answered", job)
            if queue:
                work(queue.popleft())
        elif what == "answered":
            pipeline.answered(job, now)
            ended.append(now)
        else:
            assert not pipeline.failed(job, UnavailableError(FULL), now), "refused for too long"
