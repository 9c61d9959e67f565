"""The display for a user's ``progress=``: a function, a bar, lines, or an output of a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING

from tfs_client._flows.batching.arguments import Progress
from tfs_client._flows.batching.progress.counts import Counts, Display, Lines, NoDisplay
from tfs_client._flows.telemetry.hooks import is_async
from tfs_client._printable import shown
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from tfs_client._flows.batching.progress.bar import Bar


def display_for(progress: Progress) -> Display | None:
    """The display for a user's ``progress``; None for none.

    Raises ConfigError for other values, and for True on a terminal if rich is not installed.
    """
    if isinstance(progress, bool):
        return _Forgiving(_chosen()) if progress else None
    if not callable(progress):
        raise ConfigError(f"expected progress as True, False or a function, got {shown(progress)}")
    if is_async(progress):
        raise _not_awaited(progress)
    return _Function(progress)


def _not_awaited(function: Callable[..., object]) -> ConfigError:
    return ConfigError(f"expected progress as a function that is not async, got {shown(function)}: nothing awaits it")


class _Function:
    """Calls the user's function whenever the counts have changed. Its errors end the call."""

    def __init__(self, function: Callable[[int, int | None], object]) -> None:
        self._function = function
        self._last: int | None = None

    def update(self, counts: Counts) -> None:
        if counts.tried != self._last:
            self._last = counts.tried
            answer = self._function(counts.tried, counts.total)
            if isinstance(answer, CoroutineType):
                answer.close()
                raise _not_awaited(self._function)

    def close(self) -> None:
        """Do nothing."""


class _Forgiving:
    """A display that disappears, instead of failing the call, when its terminal or file is closed."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def update(self, counts: Counts) -> None:
        try:
            self._display.update(counts)
        except (OSError, ValueError):
            self.close()
            self._display = NoDisplay()

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._display.close()


class _OnTerminal:
    """A bar, or lines while another bar is drawn, because two would draw over each other."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._display: Display | None = None  # chosen with the first counts: other bars come and go until then

    def update(self, counts: Counts) -> None:
        if self._display is None:
            self._display = self._bar if self._bar.claim() else _lines()
        self._display.update(counts)

    def close(self) -> None:
        if self._display is not None:
            self._display.close()


def _chosen() -> Display:
    """A display of one's own in a notebook, a bar on a terminal, lines elsewhere."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None:
        from tfs_client._flows.batching.progress.notebook import NotebookDisplay

        return NotebookDisplay()
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return _lines()
    from tfs_client._flows.batching.progress.bar import Bar

    try:
        return _OnTerminal(Bar("rows"))
    except ImportError:
        raise ConfigError(
            "progress=True needs the package rich on a terminal: pip install 'tfs-client[progress]'"
        ) from None


def _lines() -> Display:
    """Lines on standard error, if it is open."""
    if sys.stderr is None or sys.stderr.closed:
        return NoDisplay()
    return Lines(sys.stderr, time.monotonic, "rows")
