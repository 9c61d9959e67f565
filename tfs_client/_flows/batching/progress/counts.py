"""Progress of a batch call: the counts of its rows, and what shows them.

Flows only count. ``reported`` wraps a flow of which a caller wants to see the progress; other flows run as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar

from tfs_client._flows.batching.batch_steps import BatchFlow

Result = TypeVar("Result")

INTERVAL = 10.0  # seconds between two lines


@dataclass
class Counts:
    """The numbers of rows, by outcome.

    Attributes:
        total: all rows; None if their number is unknown.
        skipped: rows that an earlier run has done.
        done: rows with a result.
        failed: rows with an error.
        waiting: rows that a busy server refused, and that will be sent again.
    """

    total: int | None = None
    skipped: int = 0
    done: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def tried(self) -> int:
        """Rows with an outcome in this run."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """Rows without an outcome yet; 0 if their number is unknown."""
        return 0 if self.total is None else self.total - self.skipped - self.tried

    def text(self, seconds: float, things: str) -> str:
        """The counts after so many seconds, in a line."""
        reached = self.skipped + self.tried
        parts = [f"{reached} {things}" if self.total is None else f"{reached} of {self.total}", *self.trouble()]
        parts.append(self.rate(seconds, things))
        if self.tried and self.left > 0:
            parts.append(f"{duration(self.left * seconds / self.tried)} left")
        return ", ".join(part for part in parts if part)

    def trouble(self) -> list[str]:
        """The rows that failed or wait, as text."""
        failed = [f"{self.failed} failed"] if self.failed else []
        return [*failed, f"{self.waiting} waiting for the busy server"] if self.waiting else failed

    def rate(self, seconds: float, things: str) -> str:
        """The rows done per second, as text; "" at the beginning."""
        return f"{self.done / seconds:.1f} {things}/s" if seconds else ""


class Display(Protocol):
    """Shows the progress."""

    def update(self, counts: Counts) -> None:
        """Show the new counts."""

    def close(self) -> None:
        """End the display."""


class Lines:
    """Prints a plain line at intervals.

    Args:
        out: the stream to print to.
        clock: returns monotonic seconds.
        things: what is counted, in the plural.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float], things: str) -> None:
        self._out = out
        self._clock = clock
        self._things = things
        self._started = self._last = clock()

    def update(self, counts: Counts) -> None:
        """Print a line if the last one is old enough."""
        now = self._clock()
        if now - self._last < INTERVAL:
            return
        self._last = now
        self._out.write(f"{counts.text(now - self._started, self._things)}\n")
        self._out.flush()

    def close(self) -> None:
        """Do nothing."""


class NoDisplay:
    """Shows nothing."""

    def update(self, counts: Counts) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def reported(flow: BatchFlow[Result], counts: Counts, display: Display | None) -> BatchFlow[Result]:
    """Perform the same steps as a flow, and show the counts before each. The display ends with the flow."""
    return flow if display is None else _reported(flow, counts, display)


def _reported(flow: BatchFlow[Result], counts: Counts, display: Display) -> BatchFlow[Result]:
    try:
        step = next(flow)
        while True:
            display.update(counts)
            step = flow.send((yield step))
    except StopIteration as end:
        display.update(counts)
        result: Result = end.value
        return result
    finally:
        flow.close()
        display.close()


def duration(seconds: float) -> str:
    """Format seconds as text."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
