"""The live table on a terminal: a row for each stage, redrawn while the last one runs.

It is drawn by rich on standard error and removed at the end, when the results are printed. Without rich, a terminal
gets a line for each stage that has ended. Anything else than a terminal gets nothing.

While a stage runs, its generator may be in the same thread, and whatever takes long delays requests and distorts what
is measured. rich takes 5 to 50 ms for a table. So it draws between the stages only; during a stage, the last line alone
is written again, which takes well below a millisecond.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from tfs_client._printable import printable
from tfs_client.cli import exits
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report import text
from tfs_client.cli.bench.stages import Progress, Stage

AROUND = 4  # lines of a terminal that are not rows of stages
FIRST, OTHER = 18, 9  # widths of columns, which stay where they are while figures change
DISPENSABLE = ("P90", "P99.9", "GOOD/S", "MAX", "UNSENT", "WRONG", "SENT")  # left out in this order on narrow terminals
AGAIN = "\r\x1b[2K"  # to the beginning of the line, and erase it


class Display(Protocol):
    """Shows stages while they run."""

    def started(self, stage: Stage, label: str) -> Progress | None:
        """Show that a stage starts. Returns what receives its progress."""
        ...

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Show what a stage measured."""
        ...

    def close(self) -> None:
        """End the display. May be called again."""
        ...


def display(*, quiet: bool) -> Display:
    """Choose the display for standard error."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return NoDisplay()
    try:
        return LiveTable(import_module("rich.console").Console(stderr=True))
    except ImportError:  # the extra ``cli`` is not installed
        return Lines()


class NoDisplay:
    """Shows nothing."""

    def started(self, stage: Stage, label: str) -> Progress | None:
        """Return None: nothing receives the progress."""
        return None

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines(NoDisplay):
    """Prints a line for each stage that has ended."""

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Print the figures of a stage, with their names."""
        named = zip(text.HEADER[1:], text.cells(stage, measured)[1:], strict=True)
        figures = ", ".join(f"{name.lower()} {cell}" for name, cell in named)
        about = " ".join(filter(None, (label, text.cells(stage, measured)[0])))
        exits.show_note(f"{about}: {figures}{f'; {verdict}' if verdict else ''}")


class LiveTable:
    """A table that rich draws, with the running stage in its last line.

    Args:
        console: rich's console.

    Raises ImportError without rich.
    """

    def __init__(self, console: Any) -> None:
        self._console = console
        self._text: Any = import_module("rich.text").Text
        self._live: Any = import_module("rich.live").Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=True
        )
        self._columns = _columns(console.width)
        self._lines: list[str] = []
        self._open = False

    def started(self, stage: Stage, label: str) -> Progress | None:
        """Add a line for a stage."""
        if not self._open:
            self._open = True
            self._live.start()
        self._lines.append(self._line(text.cells(stage, Measured()), label))
        self._draw()

        def progress(measured: Measured) -> None:
            line = self._line(text.cells(stage, measured), label)[: self._console.width - 1]
            self._console.file.write(f"{AGAIN}{line}")
            self._console.file.flush()

        return progress

    def ended(self, stage: Stage, label: str, measured: Measured, verdict: str) -> None:
        """Complete the line of a stage."""
        self._lines[-1:] = [self._line(text.cells(stage, measured), f"{label} {verdict}".strip())]
        self._draw()

    def close(self) -> None:
        """Remove the table."""
        if self._open:
            self._open = False
            self._live.stop()

    def _draw(self) -> None:
        """Draw the stages that the terminal has lines for: the last ones."""
        lines = [self._line(text.HEADER, ""), *self._lines[-max(1, self._console.height - AROUND) :]]
        shown = "\n".join(line[: self._console.width - 1] for line in lines)
        self._live.update(self._text(shown, no_wrap=True, overflow="crop"), refresh=True)

    def _line(self, cells: Sequence[str], about: str) -> str:
        """The cells of a stage that the terminal is wide enough for, and what it was for."""
        load, *numbers = (cells[at] for at in self._columns)
        aligned = " ".join([load.ljust(FIRST), *(number.rjust(OTHER) for number in numbers)])
        return f"{aligned}  {printable(' '.join(about.split()))}".rstrip()


def _columns(width: int) -> list[int]:
    """The columns that fit into a terminal."""
    names = list(text.HEADER)
    for name in DISPENSABLE:
        if FIRST + (len(names) - 1) * (OTHER + 1) < width:
            break
        names.remove(name)
    return [text.HEADER.index(name) for name in names]
