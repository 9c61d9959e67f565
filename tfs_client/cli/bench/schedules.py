"""Schedules: when the requests of an open loop or of a recording are meant to start, and which of them a process sends.

Times are seconds from the start of the measured time, so that those of the warm-up are negative. They are made in
chunks, and only as far as they are needed: a schedule takes the same memory for every rate and duration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.cli.bench.queries import Query
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage
from tfs_client.errors import ConfigError

CHUNK = 4096  # times


@dataclass(frozen=True)
class Share:
    """The part of the load that one of several processes applies.

    Attributes:
        index: the process, from 0.
        of: how many processes there are.
    """

    index: int = 0
    of: int = 1

    def part(self, number: int) -> int:
        """The process's part of a number; the parts of all processes add up to it."""
        return number // self.of + (self.index < number % self.of)


class Schedule:
    """Intended starts, in rising order.

    Attributes:
        due: the next intended start; infinity after the last.
    """

    __slots__ = ("_chunks", "_times", "due")

    def __init__(self, chunks: Iterator[Array]) -> None:
        self._chunks = chunks
        self._times: Iterator[float] = iter(())
        self.due: float = -math.inf
        self.take()

    def take(self) -> float:
        """Return the next intended start and continue with the one after it."""
        taken = self.due
        while (due := next(self._times, None)) is None:
            chunk = next(self._chunks, None)
            if chunk is None:
                due = math.inf
                break
            self._times = iter(chunk.tolist())
        self.due = due
        return taken

    def rest(self, end: float) -> int:
        """Count the intended starts that were not taken, from 0 on and before ``end``; none of them is left."""
        times = [self.due, *self._times]
        self._times = iter(())
        self.due = math.inf
        count = sum(0 <= time < end for time in times)
        if times[-1] < end:
            for chunk in self._chunks:
                count += int(np.count_nonzero((chunk >= 0) & (chunk < end)))
                if chunk.size and chunk[-1] >= end:
                    break
        return count


def schedule(stage: Stage, queries: Sequence[Query], share: Share) -> Schedule | None:
    """The intended starts of a process's share of a stage; None for a closed loop, which has none."""
    load = stage.load
    if isinstance(load, ClosedLoop):
        return None
    if isinstance(load, RecordedPace):
        times = np.array([query.at for query in in_turn(stage, queries, share)], float) / load.factor - stage.warmup
        return Schedule(iter([times]))
    return Schedule((_fixed if load.arrivals == "fixed" else _poisson)(stage, load, share))


def in_turn(stage: Stage, queries: Sequence[Query], share: Share) -> Iterator[Query]:
    """The queries that a process sends, in their order.

    Those of a recording are sent once, by their times; others again and again, in an order that depends on the seed.
    Process i of n sends the queries i, i + n, i + 2n, and so on. Raises ConfigError without queries, and where a
    recording is asked for and they come from none.
    """
    if not queries:
        raise ConfigError("expected at least one query, got none")
    if not isinstance(stage.load, RecordedPace):
        order = np.random.default_rng(stage.seed).permutation(len(queries)).tolist()
        return islice(cycle([queries[index] for index in order]), share.index, None, share.of)
    times = [query.at for query in queries]
    if any(time is None or not 0 <= time < math.inf for time in times):
        raise ConfigError("the original pace needs queries of a recording; some of these have no time in one")
    order = np.argsort(np.array(times, float), kind="stable").tolist()
    return iter([queries[index] for index in order[share.index :: share.of]])


def _fixed(stage: Stage, load: OpenLoop, share: Share) -> Iterator[Array]:
    """Equal distances; one request starts with the measured time. Processes take turns."""
    first = -math.floor(stage.warmup * load.rate)
    first += (share.index - first) % share.of
    while True:
        times = _times(stage, load, np.arange(first, first + CHUNK * share.of, share.of, dtype=float))
        yield times[times < stage.seconds]
        if times[-1] >= stage.seconds:
            return
        first += CHUNK * share.of


def _poisson(stage: Stage, load: OpenLoop, share: Share) -> Iterator[Array]:
    """Independent streams, each with its share of the rate: together they are a Poisson process of the whole rate."""
    random = np.random.default_rng([stage.seed, 1 + share.index])  # [seed, 0] is the seed of the order
    expected = -stage.warmup * load.rate
    while True:
        numbers = expected + np.cumsum(random.standard_exponential(CHUNK)) * share.of
        expected = float(numbers[-1])
        times = _times(stage, load, numbers)
        yield times[times < stage.seconds]
        if times[-1] >= stage.seconds:
            return


def _times(stage: Stage, load: OpenLoop, numbers: Array) -> Array:
    """When the expected number of requests since the start of the measured time reaches the given ones.

    The rate at time t > 0 is rate + growth * t, so their number is rate * t + growth * t**2 / 2; before, the rate is
    constant.
    """
    growth = 0.0 if load.end_rate is None else (load.end_rate - load.rate) / stage.seconds
    before = np.minimum(numbers, 0)
    after = np.maximum(numbers, 0)
    square = load.rate**2 + 2 * growth * after
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(square >= 0, 2 * after / (load.rate + np.sqrt(np.maximum(square, 0))), np.inf)
        warmup = before / load.rate
    return np.where(numbers < 0, warmup, np.where(after == 0, 0.0, times))
