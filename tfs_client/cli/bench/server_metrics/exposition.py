"""Exposition: a page of metrics in Prometheus's text format, in TensorFlow Serving's dialect and the usual one.

A server on the network writes the page, and callers choose the names of models on it, so it may contain anything. Only
the wanted metrics are kept, a line is read in one pass, and lines of them that cannot be read are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite

from tfs_client._printable import shown

LONGEST_LINE = 1 << 16  # characters
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[\s,]*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_CLOSED = re.compile(r"[\s,]*\}")
_ESCAPE = re.compile(r"\\(.)")

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, sorted."""


@dataclass(frozen=True)
class Exposition:
    """The wanted metrics of a page.

    Attributes:
        samples: the values by the name of the series, and then by its labels.
        unread: how many lines of these metrics could not be read.
        example: the first such line, shortened.
    """

    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)
    unread: int = 0
    example: str = ""

    def series(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and values of the series that have these labels; a label that a series lacks fits."""
        for found, value in self.samples.get(name, {}).items():
            own = dict(found)
            if all(own.get(label, wanted) == wanted for label, wanted in labels.items()):
                yield own, value


def parse(text: str, names: Iterable[str]) -> Exposition:
    """Read the metrics with these names, with the ``_bucket``, ``_sum`` and ``_count`` series of histograms."""
    wanted = {f"{name}{end}" for name in names for end in ("", "_bucket", "_sum", "_count")}
    samples: dict[str, dict[Labels, float]] = {}
    unread, example = 0, ""
    for line in text.split("\n"):
        named = _NAME.match(line)
        if named is None or named[0] not in wanted:
            continue
        sample = _sample(line, named.end()) if len(line) <= LONGEST_LINE else None
        if sample is None:
            unread += 1
            example = example or shown(line[:200])
        else:
            samples.setdefault(named[0], {})[sample[0]] = sample[1]
    return Exposition(samples, unread, example)


def _sample(line: str, at: int) -> tuple[Labels, float] | None:
    """Read what follows the name: labels and a value, and perhaps a time. None if it is something else."""
    labels: list[tuple[str, str]] = []
    if line.startswith("{", at):
        at += 1
        while (label := _LABEL.match(line, at)) is not None:
            labels.append((label[1], _ESCAPE.sub(_unescaped, label[2])))
            at = label.end()
        closed = _CLOSED.match(line, at)
        if closed is None:
            return None
        at = closed.end()
    rest = line[at:].split()
    if not 1 <= len(rest) <= 2 or "_" in rest[0]:
        return None
    try:
        value = float(rest[0])
    except ValueError:
        return None
    return (tuple(sorted(labels)), value) if isfinite(value) else None


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
