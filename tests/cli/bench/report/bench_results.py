"""Results of a run for the tests of reports."""

from __future__ import annotations

from datetime import datetime, timezone
from math import inf
from typing import Any

import numpy as np

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.run_results import Change, ComparisonResult, KneeResult, Results, Run, StageResult
from tfs_client.cli.bench.server_metrics.served import Distribution, Served
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def run(**changes: Any) -> Run:
    """A run."""
    facts: dict[str, Any] = {
        "target": "localhost:8500",
        "transport": "grpc",
        "model": "resnet",
        "version": 3,
        "signature": "",
        "requests": "8 distinct requests of 1 row",
        "parameters": {"processes": 1},
        "started": STARTED,
    }
    return Run(**{**facts, **changes})


def measured(latencies: list[float], *, seconds: float = 10.0, **counts: object) -> Measured:
    """What a stage gave: latencies in seconds, evenly over its time."""
    found = Measured(seconds=seconds, sent=len(latencies), rows=len(latencies), good=len(latencies), cpu=0.5)
    found.arrived = found.arrived_good = len(latencies)
    all_of_them = np.array(latencies, float)
    found.latency.record_all(all_of_them)
    found.service.record_all(all_of_them)
    found.encode.record_all(np.full(len(latencies), 20e-6))
    found.wait.record_all(all_of_them - 50e-6)
    found.decode.record_all(np.full(len(latencies), 30e-6))
    found.slices.record(np.linspace(0, seconds, len(latencies), endpoint=False), all_of_them)
    for name, value in counts.items():
        setattr(found, name, value)
    found.arrived_good = found.good
    return found


def served() -> Served:
    """What a server counted."""
    latency = Distribution(((1e-3, 10), (1.8e-3, 80), (inf, 10)), 1.5e-3)
    return Served({"OK": 100}, latency, Distribution(((1e-3, 100), (inf, 0)), 0.8e-3), None, None, None)


def steps() -> Results:
    """A run with steps up to the knee and beyond, of a server with a queue."""
    random = np.random.default_rng(1)
    stages = []
    for rate in (25, 50, 75, 90, 97):
        latencies = 2e-3 + random.exponential(1 / (100 - rate), rate * 6)
        found = measured(latencies.tolist(), seconds=6.0, good=int((latencies < 0.1).sum()))
        verdict = "held" if rate <= 50 else "failed: 3.2 % of the requests took longer"
        stages.append(StageResult(Stage(OpenLoop(rate), 6.0, bound=0.1), found, "", verdict, served()))
    return Results(run(), stages, KneeResult("rate", 0.1, 0.99, 50.0, 75.0, (50.0, 75.0)))


def comparison() -> Results:
    """Two targets side by side."""
    changes = (
        Change("median latency", "seconds", 5.1e-3, 5.6e-3, 0.098, 0.061, 0.135, decides=True),
        Change("p99 latency", "seconds", 9.7e-3, 9.9e-3, 0.021, -0.05, 0.092),
        Change("throughput", "per second", 781.0, 712.4, -0.088, -0.12, -0.055),
    )
    block = Stage(ClosedLoop(4), 1.0)
    verdict = "localhost:8500 is worse than localhost:8600, by its median latency"
    found = ComparisonResult("localhost:8600", "localhost:8500", block, 8, changes, 0.95, verdict, True)
    blocks = [StageResult(Stage(ClosedLoop(4), 1.0), measured([0.005] * 50, seconds=1.0), name) for name in "ab"]
    return Results(run(), blocks, comparison=found)
