"""Progress in a notebook: one output that is updated. It needs IPython alone, not ipywidgets."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from tfs_client._flows.batching.progress.counts import Counts

REFRESH = 0.25  # seconds between two updates


class NotebookDisplay:
    """A bar and a line of text below the cell. The last counts stay there."""

    def __init__(self) -> None:
        self._display: Any = import_module("IPython.display").display
        self._handle: Any = None
        self._counts = Counts()
        self._began = self._shown = 0.0

    def update(self, counts: Counts) -> None:
        """Show the counts, if the last time is long enough ago."""
        now = time.monotonic()
        if self._handle is None:
            self._began = now
            self._handle = self._display(_bundle(counts, 0.0), raw=True, display_id=True)
        elif now - self._shown >= REFRESH:
            self._handle.update(_bundle(counts, now - self._began), raw=True)
        else:
            return
        self._counts, self._shown = counts, now

    def close(self) -> None:
        """Show the last counts."""
        if self._handle is not None:
            self._handle.update(_bundle(self._counts, time.monotonic() - self._began, over=True), raw=True)
            self._handle = None


def _bundle(counts: Counts, seconds: float, *, over: bool = False) -> dict[str, str]:
    """The counts as text and as HTML; a bar moves without a value while the number of rows is unknown."""
    text = counts.text(seconds, "rows")
    reached = counts.skipped + counts.tried
    total = reached if over and counts.total is None else counts.total
    bar = "<progress" if total is None else f'<progress value="{reached}" max="{max(1, total)}"'
    style = "width:16em;max-width:40%;vertical-align:middle;margin-right:.8em"
    return {"text/plain": text, "text/html": f'<div>{bar} style="{style}"></progress>{text}</div>'}
