"""Progress: how far a run is, on standard error, and what has become of it at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TextIO

EVERY = 10.0  # seconds from one plain line to the next


@dataclass
class Counts:
    """How many pictures there are, and what has become of them.

    Attributes:
        total: all that were named.
        skipped: those that the output had already.
        done: rows of this run.
        failed: failures of this run.
    """

    total: int
    skipped: int = 0
    done: int = 0
    failed: int = 0

    @property
    def tried(self) -> int:
        """Pictures of this run."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """Pictures that are still to come."""
        return self.total - self.skipped - self.tried


class Progress(Protocol):
    """Shows how it goes."""

    def tell(self, counts: Counts) -> None:
        """There is one more outcome."""

    def close(self) -> None:
        """Take the bar away."""


class Silence:
    """Shows nothing."""

    def tell(self, counts: Counts) -> None:
        """There is one more outcome."""

    def close(self) -> None:
        """There is no bar."""


class Lines:
    """A plain line now and then.

    Args:
        out: where to.
        clock: seconds, ever growing.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        self._out = out
        self._clock = clock
        self._began = self._last = clock()

    def tell(self, counts: Counts) -> None:
        """Print a line if the last one is some time ago."""
        now = self._clock()
        if now - self._last < EVERY:
            return
        self._last = now
        rate = counts.tried / (now - self._began)
        left = f", {duration(counts.left / rate)} left" if rate else ""
        failed = f", {counts.failed} failed" if counts.failed else ""
        self._out.write(f"{counts.skipped + counts.tried} of {counts.total}{failed}, {rate:.1f} pictures/s{left}\n")
        self._out.flush()

    def close(self) -> None:
        """There is no bar."""


class Bar:
    """A bar with the rate and the time left, drawn by rich."""

    def __init__(self, total: int, skipped: int) -> None:
        rich: Any = import_module("rich.progress")
        console = import_module("rich.console").Console(stderr=True)
        # The rate of this run, not counting what was there before, as rich's own columns would.
        self._bar = rich.Progress(
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[failed]}"),
            rich.TextColumn("{task.fields[rate]}"),
            rich.TimeRemainingColumn(),
            console=console,
            redirect_stdout=False,  # rows are none of its business
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, completed=skipped, failed="", rate="")
        self._bar.start()

    def tell(self, counts: Counts) -> None:
        """Move on."""
        seconds = self._bar.tasks[0].elapsed or 0.0
        self._bar.update(
            self._task,
            completed=counts.skipped + counts.tried,
            failed=f"{counts.failed} failed" if counts.failed else "",
            rate=f"{counts.tried / seconds:.1f} pictures/s" if seconds else "",
        )

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def shown(counts: Counts, *, quiet: bool, rows_on_terminal: bool, clock: Callable[[], float]) -> Progress:
    """A bar where a person looks and rich is installed; otherwise lines; or nothing."""
    if quiet or sys.stderr is None or rows_on_terminal:  # rows that scroll by say enough
        return Silence()
    if sys.stderr.isatty():
        try:
            return Bar(counts.total, counts.skipped)
        except ImportError:  # without the extra ``cli``
            pass
    return Lines(sys.stderr, clock)


def summary(counts: Counts, seconds: float) -> str:
    """What has become of the pictures, and how fast."""
    found = [
        (counts.done, "done"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.left, "not reached"),
    ]
    parts = [f"{count} {what}" for count, what in found if count or what == "done"]
    rate = f", {counts.tried / seconds:.1f} pictures/s" if counts.tried and seconds else ""
    return f"{counts.total} pictures: {', '.join(parts)}; {duration(seconds)}{rate}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
