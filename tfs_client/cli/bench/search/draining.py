"""Draining: what an overload left in a server's queue is answered before the next stage begins.

The generator waits for its requests, but not beyond their deadlines, and a server may still work on requests that
nobody waits for. One caller at a time sees it: its latency is back to normal once the queue is empty. After a stage
without a failed request nothing is left.
"""

from __future__ import annotations

from math import isnan
from time import monotonic

from tfs_client.cli.bench.stages import ClosedLoop, Generator, Stage

PROBE = 0.25  # seconds of one probe
NORMAL = 2.0  # times the median latency of one caller before the load
SLACK = 0.001  # seconds that a median may be off on a busy machine
LONGEST = 15.0  # seconds


def latency_of_one(generator: Generator) -> float:
    """The median latency of one caller, in seconds; NaN if it got no answer."""
    return generator.run(Stage(ClosedLoop(1), PROBE)).latency.quantile(0.5)


def drained(generator: Generator, normal: float) -> bool:
    """Wait until one caller is served as fast as before; ``normal`` is its median latency in seconds.

    Returns False if that is not so after LONGEST seconds, or, at once, if ``normal`` is NaN. A probe without an answer
    may take long, so the limit holds for the real time too.
    """
    if isnan(normal):
        return False
    end = monotonic() + LONGEST
    passed = 0.0
    while passed < LONGEST and monotonic() < end:
        measured = generator.run(Stage(ClosedLoop(1), PROBE))
        passed += PROBE
        if measured.answered and not measured.failed and measured.latency.quantile(0.5) <= NORMAL * normal + SLACK:
            return True
    return False
