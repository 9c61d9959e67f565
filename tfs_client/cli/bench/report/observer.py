"""Observer: collects the stages of a run, with what the server counted meanwhile, and shows them."""

from __future__ import annotations

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.live import Display
from tfs_client.cli.bench.report.run_results import StageResult
from tfs_client.cli.bench.server_metrics.stage_metrics import StageMetrics
from tfs_client.cli.bench.stages import Progress, Stage


class Observer:
    """Is informed when stages start and end.

    Args:
        display: shows them.
        metrics: reads the server's metrics page around each stage; None without a page.

    Attributes:
        stages: what the stages gave so far.
    """

    def __init__(self, display: Display, metrics: StageMetrics | None = None) -> None:
        self.stages: list[StageResult] = []
        self._display = display
        self._metrics = metrics

    def started(self, stage: Stage, label: str = "") -> Progress | None:
        """Read the server's metrics. Returns what receives the progress of the stage."""
        if self._metrics is not None:
            self._metrics.before()
        return self._display.started(stage, label)

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str = "") -> None:
        """Read the server's metrics again, and keep the result."""
        found = self._metrics.after() if self._metrics is not None else ""
        served, unknown = (None, found) if isinstance(found, str) else (found, "")
        self.stages.append(StageResult(stage, measured, label, verdict, served, unknown))
        self._display.ended(stage, label, measured, verdict)
