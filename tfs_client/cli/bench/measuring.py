"""Measuring: count the requests of a stage as they end, in a few microseconds each."""

from __future__ import annotations

import math
from array import array

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import bounded
from tfs_client.cli import exits
from tfs_client.cli.bench.histogram import Histogram
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.predict.option_words import WORDS
from tfs_client.errors import TFServingError
from tfs_client.results import Timing

FIGURES = 6  # of an answer, in seconds: start, latency, service, encode, wait, decode
BUFFERED = 2048 * FIGURES  # figures that are kept until they are counted together
_NAN = float("nan")

WRONG = "wrong"  # the key of the first difference in ``Measured.samples``


class Measuring:
    """Collects what the requests of a stage gave.

    ``bound``: the latency within which an answer is good, in seconds; None for any.
    """

    def __init__(self, bound: float | None) -> None:
        self._measured = Measured()
        self._figures = array("d")
        self._longest = math.inf if bound is None else bound  # the longest latency of a good answer
        self.sent = 0
        self._arrived = 0
        self._arrived_good = 0
        self._backlog = 0.0
        self._rows = 0

    def arrived_at(self, time: float, latency: float, difference: str, *, of_warmup: bool) -> None:
        """Count an answer that arrived within the measured time; ``time``: when, in seconds of it."""
        self._arrived += 1
        self._arrived_good += latency <= self._longest and not difference
        if of_warmup:
            self._backlog = time

    def answered(self, start: float, latency: float, service: float, timing: Timing | None, rows: int) -> None:
        """Count an answer; it is good if it came within the bound, unless ``wrong`` follows.

        ``start``: when the request was meant to start, in seconds of the measured time.
        """
        figures = self._figures
        if timing is None:
            figures.extend((start, latency, service, _NAN, _NAN, _NAN))
        else:
            figures.extend((start, latency, service, timing.encode, timing.wait, timing.decode))
        self._rows += rows
        if len(figures) >= BUFFERED:
            self._count()

    def wrong(self, latency: float, difference: str) -> None:
        """Count the answer as wrong: it differs from the reference."""
        measured = self._measured
        measured.wrong += 1
        measured.good -= latency <= self._longest
        measured.samples.setdefault(WRONG, bounded(difference))

    def failed(self, code: str, reason: object) -> None:
        """Count a request without an answer; the first reason of each code is kept, in the command's words."""
        measured = self._measured
        measured.errors[code] += 1
        if code not in measured.samples:
            text = exits.text_of(reason, WORDS) if isinstance(reason, TFServingError) else str(reason)
            measured.samples[code] = bounded(exits.in_one_line(text))

    def snapshot(self, seconds: float, cpu: float, unsent: int = 0) -> Measured:
        """What was counted so far, as a copy."""
        self._count()
        copy = Measured()
        copy.add(self._measured)
        copy.seconds, copy.cpu, copy.sent, copy.unsent, copy.rows = seconds, cpu, self.sent, unsent, self._rows
        copy.arrived, copy.arrived_good, copy.backlog = self._arrived, self._arrived_good, self._backlog
        return copy

    def _count(self) -> None:
        measured = self._measured
        columns = np.array(self._figures).reshape(-1, FIGURES)
        del self._figures[:]
        starts, latencies = columns[:, 0], columns[:, 1]
        measured.slices.record(starts, latencies)
        measured.good += int(np.count_nonzero(latencies <= self._longest))
        histograms = (measured.latency, measured.service, measured.encode, measured.wait, measured.decode)
        for histogram, column in zip(histograms, columns.T[1:], strict=True):
            _record(histogram, column)


def _record(histogram: Histogram, column: Array) -> None:
    histogram.record_all(column[~np.isnan(column)])  # NaN: the answer has no timing
