"""Progress of a run on standard error, and the summary at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tfs_client._flows.batching.progress.counts import Counts, Display, Lines, NoDisplay, duration


def display(*, quiet: bool, rows_on_terminal: bool, clock: Callable[[], float]) -> Display:
    """Choose the display: a bar on a terminal if rich is installed, else lines, or nothing."""
    if quiet or sys.stderr is None or rows_on_terminal:  # the rows themselves show the progress
        return NoDisplay()
    if sys.stderr.isatty():
        try:
            from tfs_client._flows.batching.progress.bar import Bar

            return Bar("pictures", transient=True, redirect=False)  # rows are printed on standard output
        except ImportError:  # the extra ``cli`` is not installed
            pass
    return Lines(sys.stderr, clock, "pictures")


def summary(counts: Counts, seconds: float) -> str:
    """Return the final counts, the time and the rate as text."""
    found = [
        (counts.done, "done"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.left, "not reached"),
    ]
    parts = [f"{count} {what}" for count, what in found if count or what == "done"]
    rate = f", {counts.done / seconds:.1f} pictures/s" if counts.done and seconds else ""
    return f"{counts.total} picture{'s' * (counts.total != 1)}: {', '.join(parts)}; {duration(seconds)}{rate}"
