"""KeptStages: the stages of a run, with what an interrupted one measured until then."""

from __future__ import annotations

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.observer import Observer
from tfs_client.cli.bench.report.run_results import StageResult
from tfs_client.cli.bench.stages import Progress, Stage


class KeptStages:
    """A watcher that passes everything on, and keeps the progress of the stage that runs.

    Args:
        observer: receives the stages.
        labelled: whether labels say more than the load does.
    """

    def __init__(self, observer: Observer, *, labelled: bool) -> None:
        self._observer = observer
        self._labelled = labelled
        self._running: tuple[Stage, str] | None = None
        self._last: Measured | None = None

    def started(self, stage: Stage, label: str) -> Progress:
        """Pass the start on. Returns what receives the progress of the stage."""
        label = label if self._labelled else ""
        self._running, self._last = (stage, label), None
        show = self._observer.started(stage, label)

        def progress(measured: Measured) -> None:
            self._last = measured
            if show is not None:
                show(measured)

        return progress

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Pass the result on."""
        self._running = None
        self._observer.ended(stage, label if self._labelled else "", measured, verdict)

    def stages(self) -> list[StageResult]:
        """Return what the stages measured, those that ended and the one that was interrupted."""
        found = list(self._observer.stages)
        if self._running is not None and self._last is not None:
            stage, label = self._running
            found.append(StageResult(stage, self._last, label, "interrupted"))
        return found
