"""Steps: stages that the user has chosen, run one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.search.draining import drained, latency_of_one
from tfs_client.cli.bench.stages import Generator, Stage
from tfs_client.cli.bench.watching import Silent, Watcher


@dataclass(frozen=True)
class Step:
    """A stage and what it measured; ``drained``: whether the server's queue was empty before it."""

    stage: Stage
    measured: Measured
    drained: bool = True


def run_steps(generator: Generator, stages: Sequence[Stage], watcher: Watcher | None = None) -> list[Step]:
    """Run stages in their order; between two of them, the server works off its queue.

    Where the queue is not empty after some seconds, the next stage begins nevertheless, and says so.
    """
    watcher = watcher or Silent()
    steps: list[Step] = []
    normal = latency_of_one(generator) if len(stages) > 1 else float("nan")
    for stage in stages:
        empty = not (steps and steps[-1].measured.failed) or drained(generator, normal)
        measured = generator.run(stage, watcher.started(stage, ""))
        watcher.ended(stage, "", measured, "")
        steps.append(Step(stage, measured, empty))
    return steps
