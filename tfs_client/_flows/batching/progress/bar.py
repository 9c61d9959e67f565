"""A progress bar on a terminal, drawn by rich on standard error."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from tfs_client._flows.batching.progress.counts import Counts

REFRESH = 0.1  # seconds between two drawings

_LONGEST = 40  # columns of the bar itself
_SHORTEST = 8  # columns of the bar, and of the text about failures
_TIME = len("-:--:--")

_drawn: dict[int, Bar] = {}  # the bar on the terminal, by process: a forked process does not draw its parent's


class Bar:
    """A progress bar with the rate and the time left. It appears with the first counts.

    Args:
        things: what is counted, in the plural.
        transient: remove the bar at its end.
        redirect: show what the program prints above the bar; otherwise only what it prints on standard error.

    Raises ImportError without rich.
    """

    # No thread draws the bar: one would not survive a fork, and might hold rich's locks meanwhile.

    def __init__(self, things: str, *, transient: bool = False, redirect: bool = True) -> None:
        self._rich: Any = import_module("rich.progress")
        self._bar = self._rich.Progress(
            console=import_module("rich.console").Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=redirect and sys.stdout is not None and sys.stdout.isatty(),
            transient=transient,
        )
        self._things = things
        self._counts: Counts | None = None
        self._process = 0
        self._began = self._refreshed = 0.0

    def claim(self) -> bool:
        """Reserve the terminal for this bar. Returns whether it has it; otherwise another bar of the process does."""
        return _drawn.setdefault(os.getpid(), self) is self  # setdefault is atomic, so threads need no lock

    def update(self, counts: Counts) -> None:
        """Draw the bar, if the last time is long enough ago."""
        now = time.monotonic()
        if self._counts is None:
            self._counts, self._began, self._process = counts, now, os.getpid()
            self.claim()
            atexit.register(self._end)  # Python does not finish the iterators that are left at the end of a program
            self._task = self._bar.add_task("", total=counts.total, completed=counts.skipped)
            self._arrange(counts)
            self._bar.start()
        elif now - self._refreshed < REFRESH:
            return
        self._refreshed = now
        self._show(counts)
        self._bar.refresh()

    def close(self) -> None:
        """Draw the last counts, or remove the bar, and show the cursor again."""
        counts, self._counts = self._counts, None
        if counts is not None and self._process == os.getpid():
            atexit.unregister(self._end)
            try:
                self._show(counts)
            finally:
                try:
                    self._bar.stop()
                finally:
                    if self.claim():
                        del _drawn[self._process]

    def _end(self) -> None:
        with suppress(OSError, ValueError):  # the terminal may be closed
            self.close()

    def _show(self, counts: Counts) -> None:
        self._arrange(counts)
        self._bar.update(self._task, completed=counts.skipped + counts.tried)

    def _arrange(self, counts: Counts) -> None:
        """Choose the columns that the terminal is wide enough for: the counts first, the bar last."""
        rich = self._rich
        reached, total = counts.skipped + counts.tried, counts.total
        left = self._bar.console.width - (len(f"{reached}/?") if total is None else 2 * len(str(total)) + 1)
        columns = [rich.MofNCompleteColumn()]
        trouble = ", ".join(counts.trouble())
        if trouble and left > _SHORTEST:
            trouble = trouble if len(trouble) < left else f"{trouble[: left - 2]}…"
            columns.append(rich.TextColumn(trouble, markup=False))
            left -= 1 + len(trouble)
        # Our own rate, because rich's would count the skipped rows.
        rate = counts.rate(time.monotonic() - self._began, self._things)
        if rate and len(rate) < left:
            columns.append(rich.TextColumn(rate, markup=False))
            left -= 1 + len(rate)
        if left > _TIME:
            columns.append(rich.TimeRemainingColumn())
            left -= 1 + _TIME
        if left > _SHORTEST:
            columns.insert(0, rich.BarColumn(min(_LONGEST, left - 1)))
        self._bar.columns = tuple(columns)
