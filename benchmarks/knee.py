"""Search the knee of a server whose knee is known, and measure its latency at a known rate.

The server is a queue, M/M/16 with a mean service time of 80 ms, in a separate process: the way there and back takes
little beside it. In each round it has another seed; the search looks for the highest rate at which p99 is within
500 ms, and a stage at 0.7 of the capacity measures p99.
Every answer is checked. The targets: the median knee within 10 % of theory, and the median p99 within 15 %.

Then ``--compare`` runs twice: against the same server, and against one that is 10 % slower.

    python benchmarks/knee.py [--rounds N] [--seconds S] [--quick]

``--seconds`` is the longest stage. ``--quick`` is a smoke run: one short round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from measure import duration, machine
from server_with_known_knee import knee as theoretical_knee
from server_with_known_knee import quantile, running

from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench.compare.alternating import Comparison
from tfs_client.cli.bench.engine import Engine
from tfs_client.cli.bench.search.knee import KneeSearch
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage
from tfs_client.results import Prediction

SERVICE, SERVERS = 0.08, 16
CAPACITY = SERVERS / SERVICE
RATE = 0.7 * CAPACITY
BOUND, QUANTILE = 0.5, 0.99
KNEE, P99 = theoretical_knee(BOUND, QUANTILE, SERVICE, SERVERS), quantile(0.99, RATE, SERVICE, SERVERS)
KNEE_AIM, LATENCY_AIM = 0.10, 0.15
SLOWER = 1.1


@dataclass
class Doubling:
    """A request for the model that doubles."""

    value: float
    rows: int = 1
    at: float | None = None

    async def send(self, client: AsyncPredictClient) -> Prediction:
        return await client.predict({"x": np.full((1, 8), self.value, np.float32)})

    def difference(self, answer: Prediction) -> str:
        return "" if (answer["y"] == 2 * self.value).all() else f"expected {2 * self.value}, got {answer['y']}"


class Values:
    """Queries with a few values."""

    def make(self) -> Sequence[Doubling]:
        return [Doubling(float(value)) for value in range(16)]


def engine(target: str) -> Engine:
    """A load generator for a server."""
    return Engine(Values(), lambda: AsyncPredictClient(target, model="m", timeout=30))


def searched(seed: int, seconds: float) -> tuple[float, float]:
    """The knee that a search finds, and p99 at RATE, both as a share of theory less 1."""
    with running(SERVICE, SERVERS, seed=seed) as (target, _):
        generator = engine(target)
        try:
            search = KneeSearch(BOUND, QUANTILE, seconds=seconds, seed=1000 * seed)
            found = search.run(generator)
            stage = Stage(OpenLoop(RATE), 3 * seconds, 1.0, BOUND, seed)
            measured = generator.run(stage)
        finally:
            generator.close()
    assert found.held is not None
    assert found.failed is not None
    assert not measured.wrong + measured.failed + measured.unsent
    knee, p99 = found.held.load, measured.latency.quantile(0.99)
    low, high = found.certain
    print(
        f"  {seed:5}  {knee:7.1f}  {found.failed.load:7.1f}  {low:7.1f} to {high:7.1f}  {len(found.tried):6}"
        f"  {duration(p99):>8}  {knee / KNEE - 1:+7.1%}  {p99 / P99 - 1:+7.1%}",
        flush=True,
    )
    return knee / KNEE - 1, p99 / P99 - 1


def compared(slower: float, pairs: int) -> bool:
    """Compare two servers with fixed service times, the second so many times as slow; returns whether it is worse."""
    with (
        running(SERVICE / 8, service="fixed") as (base, _),
        running(SERVICE / 8 * slower, service="fixed") as (candidate, _),
    ):
        generators = engine(base), engine(candidate)
        try:
            found = Comparison(Stage(ClosedLoop(2), 1.0, 0.25), pairs=pairs).run(*generators)
        finally:
            for each in generators:
                each.close()
    main = found.changes[0]
    verdict = "worse" if found.worse else "not worse"
    print(
        f"  {slower:.2f} times as slow: median latency {duration(main.base)} and {duration(main.candidate)}, "
        f"{main.change:+.1%}, 90 % interval {main.low:+.1%} to {main.high:+.1%}: {verdict}",
        flush=True,
    )
    return found.worse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="searches, each with another seed (default: 5)")
    parser.add_argument("--seconds", type=float, default=30, help="the longest stage (default: 30)")
    parser.add_argument("--quick", action="store_true", help="one short round, without judging the targets")
    options = parser.parse_args()
    rounds, seconds, pairs = (1, 2.0, 8) if options.quick else (options.rounds, options.seconds, 20)

    print(machine("grpcio", "numpy", "tfs-client"))
    print(
        f"M/M/{SERVERS} of {CAPACITY:g} requests/s; in theory, p99 is {duration(BOUND)} at {KNEE:.1f} requests/s, and "
        f"{duration(P99)} at {RATE:g}"
    )
    print("   seed     held   failed             certain  stages       p99     knee      p99")
    found = [searched(seed, seconds) for seed in range(1, rounds + 1)]
    knee, latency = median(each[0] for each in found), median(each[1] for each in found)
    print(f"knee: {knee:+.1%} (target: {KNEE_AIM:.0%}); p99: {latency:+.1%} (target: {LATENCY_AIM:.0%}); medians")
    print("compare, two callers")
    right = [not compared(1.0, pairs), compared(SLOWER, pairs)]
    reached = abs(knee) <= KNEE_AIM and abs(latency) <= LATENCY_AIM and all(right)
    return 0 if reached or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
