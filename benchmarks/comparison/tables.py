"""The results as Markdown: one table for each group of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from measure import duration

Results = dict[str, Any]

TITLES = {
    "sync": "Single calls",
    "asyncio": "Single calls, asyncio",
    "dtypes": "Other dtypes",
    "batching": "Pictures in each request",
    "in-flight": "Many calls in flight",
    "rest": "REST",
    "process": "Whole processes",
    "memory": "Peak memory",
    "size": "Installed size",
}
MEANINGS = {
    "sync": "Time from array to array, as a multiple of raw gRPC's. In brackets, the 95 % interval of the "
    "ratio, except after `--quick`. The floor's own column has its median and quartiles.",
    "asyncio": "The same in an event loop, one call after the other; the floor is `grpc.aio`.",
    "dtypes": "The reply has the same values as the request.",
    "batching": "Pictures per second, one request after the other; float32, 224 x 224 x 3, 1000 scores for each.",
    "in-flight": "Calls per second, as a share of raw gRPC's in the same style, so more is better; then p50, p99, and "
    "the client's CPU for each call. `sync` has this number of threads.",
    "rest": "Float32 as JSON; the floor is httpx with a prepared body.",
    "process": "From start to exit.",
    "memory": "Of a new process that makes 20 calls.",
    "size": "The packages and all that they require, without compiled modules.",
}


def markdown(results: Results) -> str:
    """All tables, after the machine and the versions."""
    return "\n".join([*_head(results), *(line for group in TITLES for line in _group(results, group))]).rstrip() + "\n"


def console(row: Results) -> str:
    """The figures of one row, a line for each library."""
    lines = [f"{row['group']}/{row['name']}"]
    for name, one in row["results"].items():
        lines.append(f"  {name:24} {_line(row, one)}")
    lines += [f"  {name:24} FAILED: {reason}" for name, reason in row["failed"].items()]
    return "\n".join(lines)


def _line(row: Results, one: Results) -> str:
    if row["kind"] in ("memory", "size"):
        return _megabytes(one["bytes"])
    ratio = f"{one['ratio']:7.3f}{_interval(one, 3)}"
    if row["kind"] == "flow":
        rest = f"p50 {duration(one['p50'])}, p99 {duration(one['p99'])}, CPU {duration(one['cpu'])} a call"
        return f"{one['rate']:9.0f} calls/s {ratio}  {rest}"
    first, third = map(duration, one["quartiles"])
    return f"{duration(one['median']):>9} {ratio}  quartiles {first}, {third}; {one['calls']} calls"


def _head(results: Results) -> Iterator[str]:
    yield results["machine"]
    yield ""
    for name, library in results["libraries"].items():
        if "missing" in library:
            yield f"- {name}: left out, {library['missing']}"
        elif "failed" in library:
            yield f"- {name}: failed, {library['failed']}"
        elif any(name in row[found] for row in results["rows"] for found in ("results", "failed")):
            packages = ", ".join(f"{package} {version}" for package, version in library["packages"].items())
            yield f"- {name}: Python {library['python']}; {packages}"
    yield ""


def _group(results: Results, group: str) -> Iterator[str]:
    rows = [row for row in results["rows"] if row["group"] == group]
    if not rows:
        return
    yield from (f"### {TITLES[group]}", "", MEANINGS[group], "")
    names = [name for name in results["libraries"] if any(name in row["results"] for row in rows)]
    yield f"| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for row in rows:
        cells = [_cell(row, name) for name in names]
        yield f"| {row['name']} | {' | '.join(cells)} |"
    yield ""
    for row in rows:
        for name, reason in row["failed"].items():
            yield f"- {row['name']}, {name}: failed: {reason}"
        for one in row["results"].values():
            if "wheels" in one:
                yield _wheels(one["wheels"])
    yield ""


def _cell(row: Results, name: str) -> str:
    one = row["results"].get(name)
    if one is None:
        return "failed" if name in row["failed"] else ""
    if row["kind"] in ("memory", "size"):
        return _megabytes(one["bytes"])
    floor = name == row["floor"]
    if row["kind"] == "flow":
        rate = f"{one['rate']:.0f}/s" if floor else f"**{one['ratio']:.2f}**"
        return f"{rate}; {duration(one['p50'])}, {duration(one['p99'])}; {duration(one['cpu'])}"
    if row["pictures"]:
        rate = f"{row['pictures'] / one['median']:.0f}/s"
        return rate if floor else f"{rate} **{one['ratio']:.2f}**"
    first, third = map(duration, one["quartiles"])
    return f"{duration(one['median'])} ({first}, {third})" if floor else f"**{one['ratio']:.2f}**{_interval(one, 2)}"


def _interval(one: Results, digits: int) -> str:
    return f" [{one['interval'][0]:.{digits}f}, {one['interval'][1]:.{digits}f}]" if one["interval"] else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _wheels(wheels: dict[str, int]) -> str:
    parts = ", ".join(f"{name} {_megabytes(size)}" for name, size in wheels.items())
    return f"Wheels to download for tfs_client: {parts}; together {_megabytes(sum(wheels.values()))}."
