"""A model server in simulated time: requests of pipelines travel, wait for a worker, are refused or answered."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit
from tfs_client._flows.batching.pipeline import Pipeline
from tfs_client.errors import ResourceExhaustedError, UnavailableError

FULL = "The batch scheduling queue to which this task was submitted is full"


class Run(NamedTuple):
    """The result of a run.

    Attributes:
        seconds: simulated, until the last answer.
        refused: requests that the server refused.
        limits: the concurrency limit over time.
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
    concurrency: ConcurrencyLimit,
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
    pipeline: Pipeline[range] = Pipeline(concurrency, 1, isolate=False)
    pipeline.add(range(requests))
    events: list[tuple[float, int, str, Any]] = []
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
        if not limits or limits[-1][1] != concurrency.limit:
            limits.append((now, concurrency.limit))
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


class Shared(NamedTuple):
    """The result of clients that share a server.

    Attributes:
        answered: when requests were, of all clients.
        refused: when requests were.
        of_client: how many requests of each client were answered.
        longest: seconds that some client was without an answer.
    """

    answered: list[float]
    refused: list[float]
    of_client: list[int]
    longest: float

    def rate(self, begin: float, end: float) -> float:
        """Answers per second between two times."""
        return sum(begin <= when < end for when in self.answered) / (end - begin)

    def refusals(self, begin: float = 0.0, end: float = float("inf")) -> float:
        """Refused requests between two times, as a share of the answered ones."""
        return sum(begin <= when < end for when in self.refused) / sum(begin <= when < end for when in self.answered)


def share(
    concurrencies: Sequence[ConcurrencyLimit],
    seconds: float,
    *,
    slots: Callable[[float], int],
    service: float = 0.01,
    travel: float = 0.0003,
    tidying: float = 0.0,
    asks: float | None = None,
    noise: float = 0.1,
    seed: int = 0,
) -> Shared:
    """Let clients with more rows than they can send, each with its own limit, share a server that queues nothing.

    Args:
        slots: requests that the server works on at once, at a time; more are refused.
        service: seconds of work for a request.
        travel: seconds that a request, and an answer, is on its way.
        tidying: seconds after an answer for which its slot is still taken.
        asks: what a refusal asks to wait.
        noise: by which share work and ways vary.
    """
    chance = random.Random(seed)
    pipelines: list[Pipeline[range]] = [Pipeline(concurrency, 1, isolate=False) for concurrency in concurrencies]
    events: list[tuple[float, int, str, int, Any]] = []
    answered: list[float] = []
    refused: list[float] = []
    of_client, last, wakes = [0] * len(concurrencies), [0.0] * len(concurrencies), [0.0] * len(concurrencies)
    busy = number = 0
    longest = now = 0.0

    def at(when: float, what: str, client: int, job: object = None) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, what, client, job))

    def some(about: float) -> float:
        return about * chance.uniform(1 - noise, 1 + noise)

    def send(client: int) -> None:
        while (job := pipelines[client].next(now)) is not None:
            at(now + some(travel), "arrives", client, job)
        wait = pipelines[client].wait(now)
        if wait is not None and now + wait != wakes[client]:
            wakes[client] = now + wait
            at(now + wait, "wakes", client)

    for client, pipeline in enumerate(pipelines):
        pipeline.add(range(10**9))
        at(some(travel), "wakes", client)
    while True:
        now, _, what, client, job = heapq.heappop(events)
        if now >= seconds:
            return Shared(answered, refused, of_client, max(longest, *(seconds - when for when in last)))
        if what == "arrives":
            if busy < slots(now):
                busy += 1
                at(now + some(service), "done", client, job)
            else:
                at(now + travel, "refused", client, job)
        elif what == "done":
            at(now + tidying, "free", client)
            at(now + some(travel), "answered", client, job)
        elif what == "free":
            busy -= 1
        elif what == "answered":
            answered.append(now)
            of_client[client] += 1
            longest, last[client] = max(longest, now - last[client]), now
            pipelines[client].answered(job, now)
            send(client)
        elif what == "refused":
            refused.append(now)
            error = ResourceExhaustedError("Server Threadpool Exhausted")
            error.retry_after = asks
            assert not pipelines[client].failed(job, error, now), "rows were lost"
            send(client)
        else:
            send(client)
