"""Alternating timings for the benchmarks, the CPU and memory of a process, and a line that describes the machine."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any


def alternating(
    *functions: Callable[[], Any], rounds: int, warmup: int = 3, at_least: float = 0.0
) -> list[list[float]]:
    """Seconds of each call, by function. Every round times each function once; the order rotates with the round.

    A function that takes less than ``at_least`` seconds is called several times in a row for one timing.
    """
    repeats = []
    for function in functions:
        for _ in range(warmup):
            started = perf_counter()
            function()
            took = perf_counter() - started
        repeats.append(max(1, round(at_least / max(took, 1e-9))))
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds):
        for offset in range(len(functions)):
            index = (turn + offset) % len(functions)
            function, calls = functions[index], range(repeats[index])
            started = perf_counter()
            for _ in calls:
                function()
            times[index].append((perf_counter() - started) / len(calls))
    return times


def median(times: list[float]) -> float:
    """The median, in seconds."""
    return statistics.median(times)


def duration(seconds: float) -> str:
    """A readable duration: 12.3 us, 4.56 ms, 1.23 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError("unreachable")


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    """The largest resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


def resident_memory() -> int:
    """The resident memory of this process, in bytes."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def machine(*packages: str) -> str:
    """Python, processor count and package versions, for the head of a table."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {sys.platform}; {', '.join(found)}"
