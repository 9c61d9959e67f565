"""Measured: what a stage gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

from tfs_client.cli.bench.histogram import Histogram
from tfs_client.cli.bench.slices import Slices

_OF_ALL = ("seconds", "backlog")  # the same time in every process


@dataclass
class Measured:
    """The requests of a stage that were meant to start within the measured time.

    Every one of them that was sent ends: at the end of a stage, ``sent`` is ``answered`` plus ``failed``. Some end
    after the measured time, and some answers within it belong to requests of the warm-up. So throughput and goodput
    count the answers that arrive within the measured time instead: an overload does not raise them above the capacity.

    Attributes:
        seconds: length of the measured time.
        arrived: answers that arrived within the measured time, whenever their requests were meant to start.
        arrived_good: those of them that are correct and within the stage's bound.
        backlog: when the last answer to a request of the warm-up arrived, in seconds of the measured time; 0 if none
            came so late.
        latency: of answered requests, from the intended start to the answer; in a closed loop from the start.
        service: of answered requests, from the time they were really sent.
        encode, wait, decode: the parts of the service time, as ``Prediction.timing`` has them.
        sent: requests that were sent.
        unsent: requests of an open loop that could not be sent before the stage ended.
        rows: examples in the answered requests.
        good: correct answers within the stage's bound.
        wrong: answers that differ from the reference.
        errors: failed requests by status code.
        samples: one text for each kind of error or difference, the first that occurred.
        cpu: seconds of CPU that the client processes used.
        slices: the latencies by the time of their requests.
    """

    seconds: float = 0.0
    latency: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    encode: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    decode: Histogram = field(default_factory=Histogram)
    arrived: int = 0
    arrived_good: int = 0
    backlog: float = 0.0
    sent: int = 0
    unsent: int = 0
    rows: int = 0
    good: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)
    cpu: float = 0.0
    slices: Slices = field(default_factory=Slices)

    @property
    def answered(self) -> int:
        """Requests with an answer, right or wrong."""
        return self.latency.count

    @property
    def failed(self) -> int:
        """Requests that ended with an error."""
        return sum(self.errors.values())

    @property
    def empty(self) -> bool:
        """Whether no request was meant to start within the measured time, so that nothing is known."""
        return not self.sent and not self.unsent

    @property
    def throughput(self) -> float:
        """Answers per second that arrived within the measured time."""
        return self.arrived / self.seconds if self.seconds else 0.0

    @property
    def goodput(self) -> float:
        """Correct answers within the bound that arrived within the measured time, per second."""
        return self.arrived_good / self.seconds if self.seconds else 0.0

    def add(self, other: Measured) -> None:
        """Add what another process measured at the same time."""
        for each in fields(self):
            own, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(own, Histogram | Slices):
                own.add(theirs)
            elif isinstance(own, Counter):
                own.update(theirs)
            elif isinstance(own, dict):
                setattr(self, each.name, theirs | own)
            else:
                setattr(self, each.name, max(own, theirs) if each.name in _OF_ALL else own + theirs)
