"""Certainty: whether a stage keeps a latency bound, decided as early as the requests allow.

Strategy. A bound "p99 within 50 ms" says that at most 1 % of the requests violate it. Late answers, wrong ones, errors
and unsent requests are violations. With k violations among n requests, two one-sided binomial tests (the ones behind
the Clopper-Pearson bounds) say how improbable the count is if the true share is 1 %: so many violations mean that the
stage is beyond the bound, so few that it is within.

The requests of a queue are not independent: one long service delays all that follow. The windows of a stage show by
how much the violations vary more than binomial ones would. n and k are divided by this factor (the effective size of
the sample), and by a further one because the factor comes from few windows: Student's quantile instead of the normal.
A queue that happens to be calm shows few violations and little variance at the same time, so "within" needs twice the
factor: in simulations of queues that lie exactly on the bound, both verdicts then err less often than they may.

Every further look is a further chance to be wrong. So the looks are few: at times that grow by half each, the last at
the end of the stage; and each may err with an equal part of the whole probability of an error (Bonferroni).

Overload is unstable: the backlog grows for as long as the stage lasts, and a large bound is reached late. A latency
that rises steadily ends a stage early as beyond, and keeps it from counting as within.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from tfs_client._printable import counted
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.wording import duration
from tfs_client.cli.bench.search.binomial import at_least, at_most
from tfs_client.cli.bench.search.windows import Moment, Windows

FIRST_LOOK = 1.0  # seconds
APART = 1.5  # each look after so many times the time of the one before
FEWEST_BEYOND = 4  # windows, before a stage ends early as beyond the bound
FEWEST_WITHIN = 8  # ... and as within: what is slow is rare, and may not have happened yet
CALM = 2.0  # times the inflation, before a stage counts as within
STEADY = 0.8  # Kendall's tau of a latency that only rises
RISING = 12  # windows before a trend counts


@dataclass(frozen=True)
class Verdict:
    """Whether a stage kept its bound.

    Attributes:
        held: whether it did.
        certain: whether the requests show it with the confidence asked for; otherwise the share alone decided.
        share: of the requests, how many violated the bound (0 to 1); 1 without a request.
        reason: what violated the bound; empty if it held.
    """

    held: bool
    certain: bool
    share: float
    reason: str = ""

    def __str__(self) -> str:
        if not self.held:
            return f"failed{'' if self.certain else ', not certain'}: {self.reason}"
        return "held" if self.certain else "held, not certain"


class Judge:
    """Judges one stage by its progress. ``enough`` goes to ``Generator.run``, ``verdict`` reads its result.

    Args:
        bound: the latency in seconds, the same as ``Stage.bound``.
        quantile: the share of requests, such as 0.99, that has to be within the bound.
        seconds: how long the stage lasts at most.
        confidence: of an early end, and of a verdict that is certain.
        overload: the share by which a load may exceed the capacity unnoticed; for closed loops None, as they cannot.
    """

    def __init__(
        self, bound: float, quantile: float, seconds: float, confidence: float = 0.95, overload: float | None = 0.05
    ) -> None:
        self.bound: float = bound
        self.allowed: float = 1 - quantile
        self.overload: float | None = overload
        self.windows: Windows = Windows(bound)
        self.looks: list[float] = look_times(seconds)
        self.error: float = (1 - confidence) / len(self.looks)
        self._next = 0

    def enough(self, measured: Measured) -> bool:
        """Whether the stage may end, because its verdict is certain."""
        moment = self.windows.add(measured)
        if self._next >= len(self.looks) or moment.seconds < self.looks[self._next]:
            return False
        while self._next < len(self.looks) and self.looks[self._next] <= moment.seconds:
            self._next += 1
        return self._decided(moment) is not None

    def verdict(self, measured: Measured) -> Verdict:
        """Judge the whole stage, with every request that it sent."""
        moment = self.windows.add(measured)
        share = moment.violations / moment.ended if moment.ended else 1.0
        decided = self._decided(moment)
        held = share <= self.allowed + 1e-12 and not self._overloaded() if decided is None else decided
        return Verdict(held, decided is not None, share, "" if held else self._reason(measured, moment))

    def _decided(self, moment: Moment) -> bool | None:
        """Whether the bound is kept, if that is certain."""
        windows = len(self.windows.moments) - 1
        if windows < FEWEST_BEYOND or not moment.ended:
            return None
        if self._overloaded():
            return False
        inflation, batches = self.windows.inflation()
        factor = inflation * _few(self.error, batches) if inflation > 1 else 1.0
        if at_least(moment.violations / factor, moment.ended / factor, self.allowed) < self.error:
            return False
        factor *= CALM if inflation > 1 else 1.0
        if (
            windows < FEWEST_WITHIN
            or at_most(moment.violations / factor, moment.ended / factor, self.allowed) > self.error
        ):
            return None
        return True

    def _overloaded(self) -> bool:
        if self.overload is None or len(self.windows.moments) <= RISING:
            return False
        slope, steadiness = self.windows.growth()
        return slope > self.overload / 2 and steadiness > STEADY

    def _reason(self, measured: Measured, moment: Moment) -> str:
        late = measured.answered - measured.good - measured.wrong
        counts = {
            f"took longer than {duration(self.bound)}": late,
            "failed": measured.failed,
            "had wrong answers": measured.wrong,
            "could not be sent": measured.unsent,
        }
        if not moment.ended:
            return "no request was answered"
        what, count = max(counts.items(), key=lambda each: each[1])
        if moment.violations <= self.allowed * moment.ended:
            return "the latency grows steadily: the load is above the capacity"
        text = f"{count} of {counted(moment.ended, 'requests')} {what}"
        quantile = 1 - self.allowed
        if count == late and measured.service.quantile(quantile) <= self.bound < measured.latency.quantile(quantile):
            text += "; the load generator, not the server, fell behind"
        return text


def look_times(seconds: float) -> list[float]:
    """The times, in seconds, at which a stage of ``seconds`` is judged; the last is its end."""
    times = [seconds]
    while times[-1] / APART >= FIRST_LOOK:
        times.append(times[-1] / APART)
    return times[::-1]


def _few(error: float, batches: int) -> float:
    """The square of Student's quantile over the normal one, for a variance that comes from few batches."""
    z = NormalDist().inv_cdf(1 - error)
    free = max(1, batches - 1)
    student = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return (student / z) ** 2
