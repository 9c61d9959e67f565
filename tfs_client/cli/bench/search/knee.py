"""Knee: the highest load at which a latency bound holds.

Strategy. A first stage with one caller gives the latency without a queue: if that misses the bound, no load can hold.
Its throughput is the first rate. The load doubles until a stage fails (or halves until one holds); then the bracket
between the two shrinks. At a low rate, a few violations by chance are already too many: if the highest load failed
without certainty, twice the load shows whether it was chance.

The share of violations grows about exponentially with the load near the knee, so the next load is where a line through
the logarithms of both shares crosses the allowed share (regula falsi), but not close to an end of the bracket, as a
single stage may be wrong there. A step that shrinks the bracket by less than half is followed by a bisection, so the
number of stages is bounded.

Most loads are far from the knee and end early. Close to it, a stage lasts its full time, and its share decides without
certainty. So the result has two brackets: the one where the search ended, and a wider one of the certain verdicts.

A verdict is only certain about its stage: if the machine stalls for a second, any load fails certainly, and the search
would end far below the knee. So a failure does not bound the result until the same load has failed once more. If it
holds twice in between, the failure was an accident, and the search goes on upwards. (If one stage could refute another,
the second chances near the knee would shift the result by 2 %.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from math import isfinite, log, sqrt
from typing import Literal

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.search.certainty import Judge, Verdict
from tfs_client.cli.bench.search.draining import drained
from tfs_client.cli.bench.stages import ClosedLoop, Generator, OpenLoop, Stage
from tfs_client.cli.bench.watching import Silent, Watcher
from tfs_client.errors import ConfigError

LOWEST = 1 / 64  # of the throughput of one caller; lower rates have no queue, and cannot be better
MARGIN = 0.2  # of the bracket, at each end, where no next load is tried
WARMUP_BOUNDS, MEASURED_BOUNDS = 3, 20  # a queue that makes requests wait for the bound changes no faster than that
EMPTY_SECONDS = 3.0  # the longest first stage: it has no queue


@dataclass(frozen=True)
class Tried:
    """A load of the search, and how it went.

    Attributes:
        load: requests per second, or requests in flight.
        drained: whether the server's queue was empty before the stage.
    """

    load: float
    stage: Stage
    measured: Measured
    verdict: Verdict
    drained: bool = True


@dataclass(frozen=True)
class Knee:
    """What a search found.

    Attributes:
        over: what was increased, "rate" or "concurrency".
        tried: every stage, in order; the first is one caller, with the load 0. Of a load with several stages, the last
            counts: a failure needs a second one, and holding after a failure too.
        exhausted: whether the search ended before the bracket had the precision.
    """

    over: Literal["rate", "concurrency"]
    tried: tuple[Tried, ...]
    exhausted: bool = False

    @property
    def held(self) -> Tried | None:
        """The highest load that held: the knee. None if no load held."""
        held = [each for each in self._last if each.verdict.held and each.load]
        return max(held, key=lambda each: each.load, default=None)

    @property
    def failed(self) -> Tried | None:
        """The lowest load that failed above all that held; None if none did, so that the knee is higher."""
        held = self.held.load if self.held is not None else 0.0
        above = [each for each in self._last if not each.verdict.held and each.load > held]
        return min(above, key=lambda each: each.load, default=None)

    @property
    def certain(self) -> tuple[float, float]:
        """The highest load that certainly held, or 0, and the lowest that certainly failed, or infinity."""
        judged = [each for each in self._last if each.verdict.certain and each.load]
        held = max((each.load for each in judged if each.verdict.held), default=0.0)
        lowest = self.held.load if self.held is not None else 0.0  # a failure below was an accident
        failed = [each.load for each in judged if not each.verdict.held and each.load > lowest]
        return held, min(failed, default=float("inf"))

    @property
    def _last(self) -> Collection[Tried]:
        """The last stage of each load."""
        return {each.load: each for each in self.tried}.values()


@dataclass(frozen=True)
class KneeSearch:
    """Searches the highest load at which a quantile of the latency is within a bound.

    Errors, wrong answers and requests that could not be sent violate the bound too.

    Attributes:
        bound: the latency, in seconds.
        quantile: the share of requests, such as 0.99, that has to be within it.
        over: the load that is increased: "rate" of an open loop, or "concurrency" of a closed one.
        precision: the search ends when the load that failed is at most this share above the one that held.
        start: the first load; by default the throughput of one caller, or a concurrency of 2.
        highest: no higher load is tried.
        arrivals: of an open loop.
        seconds: how long a stage lasts at most. It is longer where a rate needs it for 1 / (1 - quantile) requests,
            and at least 20 times the bound.
        warmup: seconds before each stage that are not measured; at least 3 times the bound.
        confidence: of each verdict that ends a stage early, and of the certain bracket.
        stages: the most stages.
        seed: of arrivals; each stage has another one.
    """

    bound: float
    quantile: float = 0.99
    over: Literal["rate", "concurrency"] = "rate"
    precision: float = 0.05
    start: float | None = None
    highest: float = 1e6
    arrivals: Literal["fixed", "poisson"] = "poisson"
    seconds: float = 30.0
    warmup: float = 1.0
    confidence: float = 0.95
    stages: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        _check("bound", self.bound, self.bound > 0 and isfinite(self.bound), "seconds above 0")
        for name in ("quantile", "confidence", "precision"):
            value = getattr(self, name)
            _check(name, value, 0 < value < 1, "a share between 0 and 1")
        _check("seconds", self.seconds, self.seconds >= 1 and isfinite(self.seconds), "at least 1 second")
        _check("warmup", self.warmup, self.warmup >= 0 and isfinite(self.warmup), "seconds, 0 or more")
        _check("stages", self.stages, self.stages >= 2, "at least 2")
        _check("highest", self.highest, self.highest > 0 and isfinite(self.highest), "a load above 0")
        if self.over == "concurrency":
            valid = self.highest >= 1 and self.highest == int(self.highest)
            _check("highest", self.highest, valid, "a whole number of callers, 1 or more")
        if self.start is not None:
            lowest = 1.0 if self.over == "concurrency" else 0.0
            valid = self.start >= lowest and 0 < self.start <= self.highest
            _check("start", self.start, valid, "a load up to the highest")

    def run(self, generator: Generator, watcher: Watcher | None = None) -> Knee:
        """Search. Raises TFServingError if the generator cannot send its queries at all."""
        return _Search(self, generator, watcher or Silent()).run()


def _check(name: str, value: float, valid: bool, expected: str) -> None:
    if not valid:
        raise ConfigError(f"{name}: expected {expected}, got {value:g}")


@dataclass
class _Search:
    options: KneeSearch
    generator: Generator
    watcher: Watcher
    tried: list[Tried] = field(default_factory=list)

    def run(self) -> Knee:
        first = self._tried(0.0)
        if not first.verdict.held and first.verdict.certain:
            first = self._tried(0.0)
        if not first.verdict.held and (first.verdict.certain or not first.measured.answered):
            return self._knee()
        load = self._first_load(first.measured)
        lowest = 1.0 if self._whole else LOWEST * load
        bisect = False
        while len(self.tried) < self.options.stages:
            self._tried(load)
            if self._verdicts(load) == [False, True]:
                continue  # the third stage decides
            knee = self._knee()
            held, failed = knee.held, knee.failed
            if failed is not None and self._doubtful(failed):
                load = self._rounded(min(self.options.highest, 2 * failed.load))
            elif held is None:
                assert failed is not None
                if failed.load > lowest:
                    load = self._rounded(failed.load / 2)
                elif self._confirmed(failed):
                    return knee
                else:
                    load = failed.load
            elif failed is None:
                if held.load >= self.options.highest:
                    return knee
                load = self._rounded(min(self.options.highest, held.load * 2))
            else:
                if not self._precise(held.load, failed.load):
                    width = failed.load - held.load
                    load = self._between(held, failed, bisect)
                    smaller = max(load - held.load, failed.load - load) <= 0.5 * width
                    bisect = not bisect and not smaller
                elif self._confirmed(failed):
                    return knee
                else:
                    load = failed.load
        return self._knee(exhausted=True)

    def _doubtful(self, failed: Tried) -> bool:
        """Whether a load may have failed by chance: not certain, and nothing above it was tried."""
        highest = max(each.load for each in self.tried)
        return not failed.verdict.certain and failed.load == highest < self.options.highest

    def _confirmed(self, failed: Tried) -> bool:
        return self._verdicts(failed.load).count(False) > 1

    def _verdicts(self, load: float) -> list[bool]:
        """Whether the stages of a load held."""
        return [each.verdict.held for each in self.tried if each.load == load]

    def _knee(self, exhausted: bool = False) -> Knee:
        return Knee(self.options.over, tuple(self.tried), exhausted)

    @property
    def _whole(self) -> bool:
        return self.options.over == "concurrency"

    def _rounded(self, load: float) -> float:
        return max(1.0, float(round(load))) if self._whole else load

    def _first_load(self, empty: Measured) -> float:
        if self.options.start is not None:
            return self._rounded(self.options.start)
        if self._whole:
            return min(self.options.highest, 2.0)
        return min(self.options.highest, empty.throughput or 1 / empty.latency.mean)  # no answer came in its time

    def _precise(self, held: float, failed: float) -> bool:
        return failed <= held * (1 + self.options.precision) or (self._whole and failed - held <= 1)

    def _between(self, held: Tried, failed: Tried, bisect: bool) -> float:
        low, high = held.load, failed.load
        place = 0.5
        if not bisect:
            below, above = _log_share(held), _log_share(failed)
            if above > below:
                place = (log(1 - self.options.quantile) - below) / (above - below)
            place = min(1 - MARGIN, max(MARGIN, place))
        elif high > 1.5 * low:
            return self._inside(sqrt(low * high), low, high)
        return self._inside(low + place * (high - low), low, high)

    def _inside(self, load: float, low: float, high: float) -> float:
        return min(high - 1, max(low + 1, self._rounded(load))) if self._whole else load

    def _tried(self, load: float) -> Tried:
        """Run a stage with a load; 0 stands for one caller without a queue."""
        options = self.options
        stage = self._stage(load)
        empty_before = True
        if self.tried and self.tried[-1].measured.failed:
            empty_before = drained(self.generator, self.tried[0].measured.latency.quantile(0.5))
        label = "" if load else "one caller"
        overload = options.precision if isinstance(stage.load, OpenLoop) else None
        judge = Judge(options.bound, options.quantile, stage.seconds, options.confidence, overload)
        measured = self.generator.run(stage, self.watcher.started(stage, label), judge.enough)
        verdict = judge.verdict(measured)
        self.watcher.ended(stage, label, measured, str(verdict))
        self.tried.append(Tried(load, stage, measured, verdict, empty_before))
        return self.tried[-1]

    def _stage(self, load: float) -> Stage:
        options = self.options
        seconds, seed = options.seconds, options.seed + len(self.tried)
        if not load:
            return Stage(ClosedLoop(1), min(seconds, EMPTY_SECONDS), options.warmup, options.bound, seed)
        seconds = max(seconds, MEASURED_BOUNDS * options.bound)
        warmup = max(options.warmup, WARMUP_BOUNDS * options.bound)
        if self._whole:
            return Stage(ClosedLoop(int(load)), seconds, warmup, options.bound, seed)
        # The time is a little longer than the mean, as random arrivals may be fewer.
        enough = 1.5 / (1 - options.quantile) / load
        return Stage(OpenLoop(load, options.arrivals), max(seconds, enough), warmup, options.bound, seed)


def _log_share(tried: Tried) -> float:
    """The logarithm of the share of violations; a stage without one counts as half of one."""
    requests = max(1, tried.measured.answered + tried.measured.failed + tried.measured.unsent)
    return log(max(tried.verdict.share, 0.5 / requests))
