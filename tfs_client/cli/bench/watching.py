"""Watching: who looks on while stages run, such as the live table."""

from __future__ import annotations

from typing import Protocol

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.stages import Progress, Stage


class Watcher(Protocol):
    """Is informed of every stage of a run, also of those of a search or a comparison."""

    def started(self, stage: Stage, label: str) -> Progress | None:
        """Return what receives the progress of a stage that starts now; ``label`` adds to what its load says."""
        ...

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Receive what a stage measured; ``verdict`` is empty where nothing was judged."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def started(self, stage: Stage, label: str) -> Progress | None:
        """Return None: nothing receives the progress."""
        return None

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Do nothing."""
