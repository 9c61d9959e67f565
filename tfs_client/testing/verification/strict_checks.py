"""Checks: what a strict fake server finds wrong when its test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tfs_client.testing.verification.failure_texts import failure, numbered

MOST_SHOWN = 10  # problems of one kind

Problems = Callable[[], Iterable[object]]


class _Source(NamedTuple):
    title: str
    problems: Problems


class Checks:
    """The problems that the parts of a fake server find. Each part registers itself."""

    def __init__(self) -> None:
        self._sources: list[_Source] = []
        self._clears: list[Callable[[], None]] = []

    def add(self, title: str, problems: Problems) -> None:
        """Register a kind of problem.

        Args:
            title: its name in the plural, such as "unused faults".
            problems: returns the problems that there are now; they are shown as text.
        """
        self._sources.append(_Source(title, problems))

    def add_clear(self, clear: Callable[[], None]) -> None:
        """Register a function that forgets what a part has collected."""
        self._clears.append(clear)

    def check(self) -> None:
        """Raise AssertionError, with a list, if any part has found a problem."""
        __tracebackhide__ = True  # pytest shows the line of the test
        kinds = [(source.title, [str(each) for each in source.problems()]) for source in self._sources]
        found = {title: problems for title, problems in kinds if problems}
        if found:
            summary = ", ".join(f"{title} ({len(problems)})" for title, problems in found.items())
            lists = [f"{title}:\n{numbered(problems, MOST_SHOWN)}" for title, problems in found.items()]
            raise failure("\n".join([f"found {summary}", *lists]))

    def clear(self) -> None:
        """Make all parts forget what they have collected."""
        for clear in self._clears:
            clear()
