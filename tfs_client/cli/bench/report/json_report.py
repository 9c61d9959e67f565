"""The results as JSON, for programs: durations in seconds, null for what is unknown; docs/tfs-bench.md has the keys."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping

from tfs_client import __version__
from tfs_client._printable import bounded
from tfs_client.cli import replaced_files
from tfs_client.cli.bench.histogram import Histogram
from tfs_client.cli.bench.measuring import WRONG
from tfs_client.cli.bench.report import text
from tfs_client.cli.bench.report.run_results import ComparisonResult, KneeResult, Results, Run, StageResult
from tfs_client.cli.bench.server_metrics.served import Distribution, Served
from tfs_client.cli.bench.slices import Slices
from tfs_client.cli.bench.stages import ClosedLoop, RecordedPace, Stage
from tfs_client.cli.json_output import dumps

SCHEMA = "tfs-bench/1"
PERCENTILES = (50, 75, 90, 95, 99, 99.9, 99.99)
PACKAGES = ("grpcio", "numpy", "protobuf", "httpx")


def write(path: str, results: Results) -> None:
    """Write the results to a file, atomically. Raises ConfigError."""
    replaced_files.replace(path, [f"{dumped(results)}\n".encode()])


def dumped(results: Results) -> str:
    """Return the results in one line."""
    return dumps(_plain(values(results)))


def values(results: Results) -> dict[str, object]:
    """Return the results as an object, in which NaN and infinity are not replaced yet."""
    return {
        "schema": SCHEMA,
        "run": _run(results.run),
        "stages": [_stage_result(result) for result in results.stages],
        "knee": None if results.knee is None else _knee(results.knee),
        "comparison": None if results.comparison is None else _comparison(results.comparison),
        "notes": text.notes(results),
        "interrupted": results.interrupted,
    }


def machine() -> dict[str, object]:
    """Return the machine and the versions that the figures depend on."""
    import platform  # slow to import
    from importlib import metadata

    packages: dict[str, str | None] = {"tfs-client": __version__}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "system": sys.platform,
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
    }


def _run(run: Run) -> dict[str, object]:
    return {
        "started": run.started.isoformat(timespec="seconds"),
        "target": run.target,
        "transport": run.transport,
        "model": run.model,
        "version": run.version,
        "signature": run.signature,
        "requests": run.requests,
        "parameters": dict(run.parameters),
        "machine": machine(),
    }


def _stage_result(result: StageResult) -> dict[str, object]:
    measured = result.measured
    return {
        "label": result.label,
        "verdict": result.verdict,
        **_stage(result.stage),
        "measured_seconds": measured.seconds,
        "sent": measured.sent,
        "unsent": measured.unsent,
        "answered": measured.answered,
        "arrived": measured.arrived,
        "arrived_good": measured.arrived_good,
        "backlog_seconds": measured.backlog,
        "rows": measured.rows,
        "good": measured.good,
        "wrong": measured.wrong,
        "wrong_sample": _sample(measured.samples.get(WRONG)),
        "errors": {
            code: {"count": count, "sample": _sample(measured.samples.get(code))}
            for code, count in sorted(measured.errors.items())
        },
        "throughput": measured.throughput,
        "goodput": measured.goodput,
        "cpu_seconds": measured.cpu,
        "cpu_seconds_per_request": text.cpu_per_request(measured),
        "latency": {**_percentiles(measured.latency), "buckets": list(map(list, measured.latency.buckets()))},
        "service": _percentiles(measured.service),
        "encode": _percentiles(measured.encode),
        "wait": _percentiles(measured.wait),
        "decode": _percentiles(measured.decode),
        "slices": _slices(measured.slices),
        "server": None if result.served is None else _served(result.served),
        "server_unknown": result.unknown or None,
    }


def _stage(stage: Stage) -> dict[str, object]:
    load = stage.load
    if isinstance(load, ClosedLoop):
        applied: dict[str, object] = {"kind": "closed", "concurrency": load.concurrency}
    elif isinstance(load, RecordedPace):
        applied = {"kind": "recorded", "factor": load.factor}
    else:
        applied = {"kind": "open", "rate": load.rate, "end_rate": load.end_rate, "arrivals": load.arrivals}
    return {
        "load": applied,
        "seconds": stage.seconds,
        "warmup": stage.warmup,
        "bound": stage.bound,
        "seed": stage.seed,
    }


def _percentiles(histogram: Histogram) -> dict[str, object]:
    empty = not histogram.count
    return {
        "count": histogram.count,
        "mean": histogram.mean,
        "min": None if empty else histogram.shortest / 1e9,
        **{f"p{each:g}": histogram.quantile(each / 100) for each in PERCENTILES},
        "max": None if empty else histogram.longest / 1e9,
    }


def _slices(slices: Slices) -> list[dict[str, object]]:
    return [
        {"start": start, "seconds": slices.width, "answered": count, "p50": median, "p99": high}
        for start, count, median, high in slices.rows()
    ]


def _served(served: Served) -> dict[str, object]:
    return {
        "requests": dict(sorted(served.requests.items())),
        "latency": _distribution(served.latency),
        "runtime": _distribution(served.runtime),
        "queuing": _distribution(served.queuing),
        "batch_size": _distribution(served.batch_size),
        "batches": served.batches,
        "notes": list(served.notes),
    }


def _distribution(found: Distribution | None) -> dict[str, object] | None:
    """A histogram of the server: of a percentile, only the limits of its bucket are known."""
    if found is None:
        return None
    percentiles = {f"p{each:g}": list(found.quantile(each / 100)) for each in PERCENTILES}
    return {"count": found.count, "mean": found.mean, **percentiles, "buckets": [list(one) for one in found.buckets]}


def _knee(knee: KneeResult) -> dict[str, object]:
    return {
        "over": knee.over,
        "bound": knee.bound,
        "quantile": knee.quantile,
        "held": knee.held,
        "failed": knee.failed,
        "certainly_held": knee.certain[0],
        "certainly_failed": knee.certain[1],
        "exhausted": knee.exhausted,
    }


def _comparison(found: ComparisonResult) -> dict[str, object]:
    return {
        "base": found.base,
        "target": found.target,
        "block": _stage(found.block),
        "pairs": found.pairs,
        "confidence": found.confidence,
        "verdict": found.verdict,
        "worse": found.worse,
        "changes": [
            {
                "name": change.name,
                "unit": change.unit,
                "base": change.base,
                "target": change.target,
                "change": change.change,
                "low": change.low,
                "high": change.high,
                "decides": change.decides,
            }
            for change in found.changes
        ],
    }


def _sample(sample: str | None) -> str | None:
    return None if sample is None else bounded(sample)


def _plain(value: object) -> object:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
