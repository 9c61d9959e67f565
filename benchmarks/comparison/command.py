"""Measure tfs_client and the other clients of TensorFlow Serving on the same work.

Each library runs in its own process, in its own environment, and calls bare servers, which reply with prepared bytes.
The harness lets the libraries call in turn and compares their times with raw gRPC (or raw httpx) carrying the same
bytes.
Before a row is timed, it checks each library's request, as the server received it, and the answer that it returned.

    python benchmarks/comparison                                  tfs_client, raw grpcio, raw httpx
    python benchmarks/comparison --peers                          and the other clients, in .venv-bench/
    python benchmarks/comparison --only 'sync/*' --tree ../other  two checkouts of tfs_client
    python benchmarks/comparison --markdown                       the tables of the last run, again

The results are written as JSON, Markdown and PNG to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from measure import machine

from comparison import plot, servers, tables
from comparison.alternation import Effort
from comparison.catalogue import BASE, PEERS, Library, other_trees
from comparison.rows import Row, rows
from comparison.session import Session
from comparison.whole_processes import process_rows, size_row

RESULTS = Path(__file__).resolve().parent.parent / "results"
QUICK, FULL = Effort(0.3, 2, 0.1), Effort(3.0, 8, 0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 if a library failed or gave a wrong answer."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if twice := next((tree for tree in options.tree if options.tree.count(tree) > 1), None):
        parser.error(f"--tree: expected different checkouts, got {str(twice)!r} twice")
    if options.markdown:
        print(tables.markdown(json.loads((options.output / "comparison.json").read_text())), end="")
        return 0
    for pattern in options.only:
        if not any(fnmatch(title, pattern) for title in _titles()):
            print(f"no row matches {pattern!r}; --list prints the rows", file=sys.stderr)
            return 2
    if options.list:
        print("\n".join(title for title in _titles() if _wanted(options.only, title)))
        return 0
    libraries = [*BASE, *other_trees(options.tree), *(PEERS if options.peers else ())]
    options.output.mkdir(parents=True, exist_ok=True)
    results = _measured(libraries, options)
    drawn = plot.draw(results, options.output / "comparison.png")
    print(f"written: {options.output}/comparison.json, .md{', .png' if drawn else ''}")
    failed = [f"{name}: {one['failed']}" for name, one in results["libraries"].items() if "failed" in one]
    failed += [f"{row['group']}/{row['name']}: {name}" for row in results["rows"] for name in row["failed"]]
    if failed:
        print("failed: " + "; ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    description = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        prog="python benchmarks/comparison",
        description=description[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", action="store_true", help="measure the other client libraries too")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="rows whose group/name matches, such as 'sync/0.6 MB*'; may be repeated",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK.seconds:g} s for each row and library, not {FULL.seconds:g} s; without intervals",
    )
    parser.add_argument(
        "--tree",
        action="append",
        default=[],
        type=_checkout,
        metavar="DIR",
        help="also measure tfs_client of this checkout; may be repeated",
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="DIR", help="where the results go; default: benchmarks/results"
    )
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the last run and stop")
    return parser


def _checkout(argument: str) -> Path:
    path = Path(argument).resolve()
    if not (path / "tfs_client" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"expected a checkout with tfs_client/, got {argument!r}")
    return path


def _titles() -> list[str]:
    whole = ["process/import", "process/first call", "process/one JPEG", "size/installed"]
    return [*(row.title for row in rows()), *whole]


def _wanted(patterns: list[str], title: str) -> bool:
    return not patterns or any(fnmatch(title, pattern) for pattern in patterns)


def _measured(libraries: list[Library], options: argparse.Namespace) -> dict[str, Any]:
    effort = QUICK if options.quick else FULL
    wanted: list[Row] = [row for row in rows() if _wanted(options.only, row.title)]
    results: dict[str, Any] = {"machine": _machine(), "rows": []}
    print(results["machine"])

    def add(row: dict[str, Any]) -> None:
        results["rows"].append(row)
        _write(results, options.output)  # now, so that a run that is interrupted leaves what it has measured
        print(tables.console(row), flush=True)

    with servers.running() as running, closing(Session(libraries, running)) as session:
        results["libraries"] = session.libraries
        for row in wanted:
            add(session.measure(row, effort))
        present = session.present
        for found in process_rows(
            present, running, lambda title: _wanted(options.only, title), 3 if options.quick else 11
        ):
            add(found)
        if _wanted(options.only, "size/installed"):
            add(size_row(present))
    return results


def _machine() -> str:
    """The machine, the time, the commit, and how busy the machine is."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=RESULTS.parent, check=False
    )
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return f"{machine('tfs-client')}; commit {done.stdout.strip() or 'unknown'}; {now}; load {os.getloadavg()[0]:.1f}"


def _write(results: dict[str, Any], directory: Path) -> None:
    (directory / "comparison.json").write_text(json.dumps(results, indent=1))
    (directory / "comparison.md").write_text(tables.markdown(results))
