"""Comparison: two targets in alternation, so that both meet the same changes of the machine.

Strategy. The load runs in short blocks, one target after the other, in pairs. A coin decides which target is first in
each pair. If the targets are equal, each difference within a pair is then as likely to have one sign as the other,
whatever the machine does meanwhile: it drifts, changes in steps or stalls. A fixed order such as ABBA removes a linear
drift only, and a load that recurs with the period of the order would count as a difference of the targets.

So the signed-rank test is exact: equal targets raise an alarm with the chosen probability, and its interval needs no
further assumption. Student's interval was tried in simulations: where blocks have heavy tails, it raises 3 % alarms
at 5 % and finds a target that is 10 % slower in 75 % of the runs, and signed ranks in 99 %.

The differences are those of logarithms, so that they are ratios of the targets. The pair's blocks share their seed:
both targets receive the same requests at the same distances.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from math import expm1, isfinite, log1p
from typing import Literal, get_args

import numpy as np

from tfs_client.cli.bench.compare.signed_ranks import excluded, interval
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.stages import Generator, RecordedPace, Stage
from tfs_client.cli.bench.watching import Silent, Watcher
from tfs_client.errors import ConfigError, StatusCode, UnknownError, call_error

Metric = Literal["median", "p99", "throughput"]
METRICS: tuple[Metric, ...] = get_args(Metric)
FEWEST_PAIRS = 8  # with fewer, no share of failed requests could be certainly higher
OF_FAILURES = 0.1  # of the probability of a false alarm is for failures; it comes on top


@dataclass(frozen=True)
class Change:
    """How the candidate differs from the base in one metric.

    Attributes:
        metric: "median" or "p99" of the latency, or "throughput".
        base: its median over the blocks of the base, in seconds or answers per second.
        candidate: the same of the candidate.
        change: the candidate's value over the base's, less 1, from the pairs of blocks: 0.1 is 10 % more.
        low: the lower limit of the change. Each limit errs with at most the probability of a false alarm, so
            alarms with 5 % go with an interval of 90 %.
        high: the upper limit.
    """

    metric: Metric
    base: float
    candidate: float
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        changes: of every metric, the main one first; only this one decides.
        slower: whether the main metric is certainly worse, by more than the tolerance.
        failing: whether more requests of the candidate certainly fail, have wrong answers or cannot be sent.
        base: what all blocks of the base measured.
        candidate: the same of the candidate.
        pairs: how many pairs of blocks were measured.
    """

    changes: tuple[Change, ...]
    slower: bool
    failing: bool
    base: Measured
    candidate: Measured
    pairs: int

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse; the command then exits with ``exits.DIFFERENT``."""
        return self.slower or self.failing


@dataclass(frozen=True)
class Comparison:
    """Compares a candidate with a base.

    Attributes:
        stage: the load of a block. Its length and warm-up are those of the block: warm-up is never measured.
        metric: the main metric, which decides.
        pairs: how many blocks each target has.
        tolerance: the candidate may be worse by this share; a throughput by its inverse.
        alarms: the probability that the main metric of equal targets raises an alarm.
        seed: of the order, and of the blocks.
    """

    stage: Stage
    metric: Metric = "median"
    pairs: int = 20
    tolerance: float = 0.0
    alarms: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        _check("metric", self.metric, self.metric in METRICS, f"one of {', '.join(METRICS)}")
        _check("pairs", self.pairs, self.pairs >= FEWEST_PAIRS, f"at least {FEWEST_PAIRS}")
        _check("tolerance", self.tolerance, self.tolerance >= 0 and isfinite(self.tolerance), "a share, 0 or more")
        _check("alarms", self.alarms, 0 < self.alarms <= 0.5, "a share above 0, up to 0.5")
        if not excluded(self.pairs, self.alarms * OF_FAILURES):
            raise ConfigError(f"alarms: expected a larger share, or more pairs than {self.pairs}, got {self.alarms:g}")
        if isinstance(self.stage.load, RecordedPace):
            raise ConfigError("a comparison needs a constant load: expected a rate or a concurrency, got a recording")

    def run(self, base: Generator, candidate: Generator, watcher: Watcher | None = None) -> Compared:
        """Measure both in alternation.

        Raises TFServingError if a generator cannot send its queries, or if a target answers no request of a block.
        """
        watcher = watcher or Silent()
        order = random.Random(self.seed)
        targets = (_Target("base", base), _Target("target", candidate))
        for target in targets:
            target.run(replace(self.stage, seed=self.seed), watcher, "warm-up")
        for pair in range(self.pairs):
            stage = replace(self.stage, seed=self.seed + 1 + pair)
            for target in targets if order.random() < 0.5 else targets[::-1]:
                target.add(target.run(stage, watcher, f"pair {pair + 1} of {self.pairs}"))
        return self._compared(*targets)

    def _compared(self, base: _Target, candidate: _Target) -> Compared:
        metrics = (self.metric, *(each for each in METRICS if each != self.metric))
        changes = tuple(change(each, base.values[each], candidate.values[each], self.alarms) for each in metrics)
        failures = np.array(candidate.failures) - np.array(base.failures)
        return Compared(
            changes,
            is_worse(changes[0], self.tolerance),
            bool(interval(failures, self.alarms * OF_FAILURES)[0] > 0),
            base.measured,
            candidate.measured,
            self.pairs,
        )


def change(metric: Metric, base: list[float], candidate: list[float], alarms: float) -> Change:
    """Compare the values of paired blocks."""
    low, middle, high = interval(np.log(candidate) - np.log(base), alarms)
    return Change(
        metric,
        float(np.median(base)),
        float(np.median(candidate)),
        expm1(float(middle)),
        expm1(float(low)),
        expm1(float(high)),
    )


def is_worse(change: Change, tolerance: float) -> bool:
    """Whether a change is certainly worse than the tolerance allows."""
    if change.metric == "throughput":
        return log1p(change.high) < -log1p(tolerance)
    return change.low > tolerance


@dataclass
class _Target:
    name: str
    generator: Generator
    values: dict[Metric, list[float]] = field(default_factory=lambda: {each: [] for each in METRICS})
    failures: list[float] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    seconds: float = 0.0

    def run(self, stage: Stage, watcher: Watcher, purpose: str) -> Measured:
        label = f"{self.name}, {purpose}"
        measured = self.generator.run(stage, watcher.started(stage, label))
        watcher.ended(stage, label, measured, "")
        if not measured.answered or not measured.arrived:
            raise _unanswered(label, measured)
        return measured

    def add(self, measured: Measured) -> None:
        """Keep the values of a block; the histograms of all blocks are added, so that memory stays bounded."""
        requests = measured.answered + measured.failed + measured.unsent
        self.failures.append((measured.failed + measured.unsent + measured.wrong) / requests)
        self.values["median"].append(measured.latency.quantile(0.5))
        self.values["p99"].append(measured.latency.quantile(0.99))
        self.values["throughput"].append(measured.throughput)
        self.seconds += measured.seconds
        self.measured.add(measured)
        self.measured.seconds = self.seconds


def _unanswered(label: str, measured: Measured) -> Exception:
    if not measured.errors:
        return ConfigError(
            f"{label}: no request was answered within its block of {measured.seconds:g} s, so the targets cannot be "
            "compared: use a longer --duration, or a higher load"
        )
    text = f"{label}: none of {measured.sent} requests was answered in time, so the targets cannot be compared"
    code = measured.errors.most_common(1)[0][0]
    text = f"{text}: {measured.samples.get(code, code)}"
    return call_error(StatusCode[code], text) if code in StatusCode.__members__ else UnknownError(f"{text} ({code})")


def _check(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise ConfigError(f"{name}: expected {expected}, got {value}")
