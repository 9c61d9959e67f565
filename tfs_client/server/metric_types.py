"""Types of metrics: counters, gauges and histograms with labels, and the page that shows them.

The page is TensorFlow Serving's dialect of Prometheus text (util/prometheus_exporter.cc): names with colons, counters
without a suffix, no help lines, and samples that equal a limit counted in the next bucket. No library writes it. One
difference: line feeds in labels are escaped, because otherwise callers could add lines to the page by a model's name.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import inf

Labels = tuple[str, ...]


class Metric(ABC):
    """A named series for each combination of label values.

    Args:
        name: TensorFlow Serving's name, e.g. "/tensorflow/serving/request_count".
        labels: the names of its labels.
    """

    kind = "untyped"

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.labels: tuple[str, ...] = tuple(labels)
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        """The lines of the page: the type and all series."""
        exported = exported_name(self.name)
        yield f"# TYPE {exported} {self.kind}"
        yield from self._series(exported)

    def first(self) -> int:
        """The value of the first series, as ReloadConfigResponse reports it; 0 without a series, and for histograms."""
        return 0

    @abstractmethod
    def _series(self, exported: str) -> Iterator[str]:
        """The lines of every series."""

    def _shown(self, values: Labels, *more: str) -> str:
        pairs = (
            f'{exported_label(label)}="{_escaped(value)}"' for label, value in zip(self.labels, values, strict=True)
        )
        return "{" + ",".join((*pairs, *more)) + "}"


class Counter(Metric):
    """A number that only grows."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, labels)
        self._values: dict[Labels, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Increment the count for these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def first(self) -> int:
        """The count of the first series."""
        with self._lock:
            return next(iter(self._values.values()), 0)

    def _series(self, exported: str) -> Iterator[str]:
        with self._lock:
            found = list(self._values.items())
        return (f"{exported}{self._shown(values)} {count}" for values, count in found)


class Gauge(Counter):
    """A number that can be set."""

    kind = "gauge"

    def set(self, value: int, *values: str) -> None:
        """Set the number for these label values."""
        with self._lock:
            self._values[values] = value


class Histogram(Metric):
    """Counts samples in buckets.

    Args:
        limits: upper limits of the buckets, ascending; a last bucket without a limit is added.
    """

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        super().__init__(name, labels)
        self._limits = (*limits, inf)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, sample: float, *values: str) -> None:
        """Count a sample for these label values; one that equals a limit belongs to the next bucket."""
        with self._lock:
            counts = self._counts.setdefault(values, [0] * len(self._limits))
            counts[bisect_right(self._limits, sample, hi=len(self._limits) - 1)] += 1
            self._sums[values] = self._sums.get(values, 0.0) + sample

    def _series(self, exported: str) -> Iterator[str]:
        with self._lock:
            found = [(values, list(counts), self._sums[values]) for values, counts in self._counts.items()]
        for values, counts, total in found:
            below = 0
            for limit, count in zip(self._limits, counts, strict=True):
                below += count
                edge = "+Inf" if limit == inf else f"{limit:g}"
                yield f"{exported}_bucket{self._shown(values, f'le={chr(34)}{edge}{chr(34)}')} {below}"
            yield f"{exported}_sum{self._shown(values)} {total:g}"
            yield f"{exported}_count{self._shown(values)} {below}"


def page(metrics: Sequence[Metric]) -> str:
    """Format all metrics as ``text/plain``."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def exported_name(name: str) -> str:
    """Return a metric's name on the page."""
    name = re.sub(r"[^a-zA-Z0-9_]", ":", name)
    return f"_{name}" if name[:1].isdigit() else name


def exported_label(label: str) -> str:
    """Return a label's name on the page."""
    label = re.sub(r"[^a-zA-Z0-9]", "_", label)
    return f"_{label}" if label[:1].isdigit() else label


def _escaped(value: str) -> str:
    """Escape a label's value. Invalid UTF-8 would make the page unreadable; a line feed would add a line."""
    text = value.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
