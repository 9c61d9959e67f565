"""Results: what a run of tfs-bench measured, as its reports show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.server_metrics.served import Served
from tfs_client.cli.bench.stages import Stage


@dataclass(frozen=True)
class Run:
    """What was measured, and how.

    Attributes:
        target: the server, without passwords.
        transport: "grpc" or "rest".
        model: the name of the model.
        version: the version that answered; None if no answer named one.
        signature: the signature that was called; empty for the default one.
        requests: what was sent, in words.
        parameters: the options of the run, as JSON can hold them.
        started: when it began, with a time zone.
    """

    target: str
    transport: Literal["grpc", "rest"]
    model: str
    version: int | None
    signature: str
    requests: str
    parameters: Mapping[str, object]
    started: datetime


@dataclass(frozen=True)
class StageResult:
    """A stage, and what it gave.

    Attributes:
        stage: its load.
        measured: what the client measured.
        label: what the stage was for, such as one of two targets.
        verdict: whether it kept its bound, in words; empty where nothing was judged.
        served: what the server counted meanwhile; None if that is unknown.
        unknown: why it is unknown; empty if nobody asked.
    """

    stage: Stage
    measured: Measured
    label: str = ""
    verdict: str = ""
    served: Served | None = None
    unknown: str = ""


@dataclass(frozen=True)
class KneeResult:
    """The highest load that keeps a bound.

    Attributes:
        over: what was increased, "rate" (requests per second) or "concurrency" (requests in flight).
        bound: the latency, in seconds.
        quantile: the share of requests that has to be within it.
        held: the highest load that kept the bound: the knee; None if none did.
        failed: the lowest load that did not; None if all did, so that the knee is higher.
        certain: the highest load that certainly kept it, and the lowest that certainly did not; None if unknown.
        exhausted: whether the search ended before it reached its precision.
    """

    over: Literal["rate", "concurrency"]
    bound: float
    quantile: float
    held: float | None
    failed: float | None
    certain: tuple[float | None, float | None] = (None, None)
    exhausted: bool = False


@dataclass(frozen=True)
class Change:
    """How a figure differs between two targets.

    Attributes:
        name: the figure, such as "p99 latency".
        unit: "seconds" or "per second".
        base, target: the figure of each; the median over its blocks.
        change: the relative difference, estimated from the pairs of blocks; 0.1 means that the target is 10 % higher.
        low, high: the confidence interval of the change.
        decides: whether the exit code depends on it.
    """

    name: str
    unit: Literal["seconds", "per second"]
    base: float
    target: float
    change: float
    low: float
    high: float
    decides: bool = False


@dataclass(frozen=True)
class ComparisonResult:
    """A target beside the base that it is compared with.

    Attributes:
        base, target: their names.
        block: the stage of which each has one in every pair.
        pairs: the number of pairs.
        changes: the figures.
        confidence: of the intervals, such as 0.95.
        verdict: the result in words.
        worse: whether the target is worse beyond the tolerance.
    """

    base: str
    target: str
    block: Stage
    pairs: int
    changes: tuple[Change, ...]
    confidence: float
    verdict: str
    worse: bool


@dataclass
class Results:
    """Everything that a run gave.

    Attributes:
        run: what was measured.
        stages: its stages, in order.
        knee: the result of a search.
        comparison: the result of a comparison, whose stages are blocks of the two targets.
        notes: what to know about the results.
        interrupted: whether the run was ended early.
    """

    run: Run
    stages: list[StageResult] = field(default_factory=list)
    knee: KneeResult | None = None
    comparison: ComparisonResult | None = None
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
