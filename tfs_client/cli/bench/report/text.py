"""The results as text: tables that need no other package, and lines about errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

from tfs_client._printable import bounded
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.measuring import WRONG
from tfs_client.cli.bench.report import wording
from tfs_client.cli.bench.report.run_results import ComparisonResult, Results, StageResult
from tfs_client.cli.bench.stages import Stage
from tfs_client.cli.tables import aligned

SHARES = (0.5, 0.9, 0.99, 0.999)
HEADER = ("LOAD", "SENT", "ANSWERS/S", "GOOD/S", "P50", "P90", "P99", "P99.9", "MAX", "ERRORS", "WRONG", "UNSENT")
TIMES = ("LOAD", "ENCODE", "WAIT", "IN SERVER", "IN MODEL", "IN QUEUE", "DECODE", "CLIENT CPU")
COMPARED = ("", "BASE", "TARGET", "CHANGE", "FROM", "TO")
MARGIN = 0.02  # of the requests that the server counted
UNSENT = (
    "as many requests as --max-in-flight allows were waiting for answers; use a lower load, or raise --max-in-flight, "
    "or --processes if the CPU of the client is the limit"
)
LONGEST_SAMPLE = 400  # bytes of an error's text


def text(results: Results) -> str:
    """Return the results as lines of text."""
    parts = []
    if results.comparison is not None:
        parts.append(_comparison(results.comparison))
    elif results.stages:
        parts.append(aligned(stage_rows(results.stages), right=range(1, len(HEADER))))
        if times := time_rows(results.stages):
            parts.append(aligned(times, right=range(1, len(TIMES))))
    lines = [wording.knee(results.knee)] if results.knee is not None else []
    lines += [*problems(results.stages), *(f"note: {note}" for note in notes(results))]
    return "\n\n".join(part for part in (*parts, "\n".join(lines)) if part)


def cells(stage: Stage, measured: Measured) -> tuple[str, ...]:
    """The cells of a stage, as HEADER names them."""
    latency = measured.latency
    longest = latency.longest / 1e9 if latency.count else nan
    return (
        wording.load(stage),
        wording.number(measured.sent),
        wording.number(measured.throughput),
        wording.number(measured.goodput),
        *(wording.duration(latency.quantile(share)) for share in SHARES),
        wording.duration(longest),
        wording.number(measured.failed),
        wording.number(measured.wrong),
        wording.number(measured.unsent),
    )


def time_cells(result: StageResult) -> tuple[str, ...]:
    """The mean times of a request, as TIMES names them."""
    measured, served = result.measured, result.served
    means = [
        nan if histogram is None else histogram.mean
        for histogram in (
            measured.encode,
            measured.wait,
            *((served.latency, served.runtime, served.queuing) if served is not None else (None,) * 3),
            measured.decode,
        )
    ]
    return (wording.load(result.stage), *map(wording.duration, [*means, cpu_per_request(measured)]))


def cpu_per_request(measured: Measured) -> float:
    """Seconds of the client's CPU for each request that ended meanwhile; NaN without one."""
    ended = measured.arrived + measured.failed
    return measured.cpu / ended if ended else nan


def problems(stages: Sequence[StageResult]) -> list[str]:
    """A line for each kind of error and for wrong answers, over all stages, with the first sample."""
    counts: dict[str, int] = {}
    samples: dict[str, str] = {}
    for result in stages:
        measured = result.measured
        for code, count in (*measured.errors.items(), *([(WRONG, measured.wrong)] if measured.wrong else [])):
            counts[code] = counts.get(code, 0) + count
            if sample := measured.samples.get(code, ""):
                samples.setdefault(code, sample)
    return [
        f"{wording.number(count)} x {code}" + (f", such as: {_line(samples[code])}" if code in samples else "")
        for code, count in sorted(counts.items(), key=lambda one: -one[1])
    ]


def notes(results: Results) -> list[str]:
    """What to know about the results, each thing once."""
    found = list(results.notes)
    if results.interrupted:
        found.append("the run was interrupted; its last stage is incomplete")
    for result in results.stages:
        if result.unknown:
            found.append(f"the server's own times are unknown: {_line(result.unknown)}")
        if result.served is not None:
            found += map(_line, result.served.notes)
            found += _other_clients(result)
        if wording.is_backlogged(result.measured):
            found.append(wording.backlog(result))
        if result.measured.empty and not results.interrupted:
            found.append(wording.empty(result))
    for load, unsent in _unsent(results.stages).items():
        what = f"{wording.counted(unsent, 'requests')} of the stage {load}"
        found.append(f"{what} could not be sent, and the percentiles do not contain them: {UNSENT}")
    return list(dict.fromkeys(found))


def _unsent(stages: Sequence[StageResult]) -> dict[str, int]:
    """Requests that could not be sent, by load: a comparison applies one to many stages."""
    counts: dict[str, int] = {}
    for result in stages:
        if unsent := result.measured.unsent:
            load = wording.load(result.stage)
            counts[load] = counts.get(load, 0) + unsent
    return counts


def _other_clients(result: StageResult) -> Iterator[str]:
    """Say so if the server counted something else than this client did."""
    served, measured = result.served, result.measured
    if served is None or result.stage.warmup or not served.requests:
        return  # the server also counts the warm-up
    counted = sum(served.requests.values())
    compared = (
        f"the server counted {wording.counted(counted, 'requests')}, this client sent {wording.number(measured.sent)}"
    )
    if counted > measured.sent * (1 + MARGIN) + 1:
        yield f"{compared}: other clients call the model, or calls were retried"
    elif counted < measured.answered * (1 - MARGIN) - 1:
        yield f"{compared}: the metrics page does not cover all of them, as with several servers behind one address"


def stage_rows(stages: Sequence[StageResult]) -> list[tuple[str, ...]]:
    """The table of stages, with its header."""
    rows = [HEADER, *(cells(result.stage, result.measured) for result in stages)]
    for name in ("label", "verdict"):  # only where a stage has one
        if any(getattr(result, name) for result in stages):
            column = (name.upper(), *(getattr(result, name) for result in stages))
            rows = [(*row, cell) for row, cell in zip(rows, column, strict=True)]
    return rows


def time_rows(stages: Sequence[StageResult]) -> list[tuple[str, ...]]:
    """The table of mean times, with its header; without columns that have no time, and empty without any."""
    rows = [TIMES, *map(time_cells, stages)]
    kept = [at for at in range(len(TIMES)) if any(row[at] != wording.NOTHING for row in rows[1:])]
    return [tuple(row[at] for at in kept) for row in rows] if len(kept) > 1 else []


def comparison_rows(found: ComparisonResult) -> list[tuple[str, ...]]:
    """The table of a comparison, with its header."""
    rows: list[tuple[str, ...]] = [COMPARED]
    for change in found.changes:
        figures = (wording.value(change, change.base), wording.value(change, change.target))
        rows.append((change.name, *figures, *map(wording.percent, (change.change, change.low, change.high))))
    return rows


def _comparison(found: ComparisonResult) -> str:
    table = aligned(comparison_rows(found), right=range(1, len(COMPARED)))
    about = "\n".join(map(_line, wording.compared(found)))
    return f"{about}\n\n{table}\n{wording.columns(found)}\n\n{_line(found.verdict)}"


def _line(sample: str) -> str:
    return bounded(" ".join(sample.split()), LONGEST_SAMPLE)
