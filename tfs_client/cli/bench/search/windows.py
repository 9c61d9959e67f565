"""Windows: a stage in slices of time, and how far their violations depend on each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tfs_client.cli.bench.measured import Measured

BATCHES = 16  # the windows of a stage are joined into at most so many
FEWEST = 4  # batches that still say something about their variance
CORRELATED = 0.3  # correlation of neighbouring batches above which batches are too short
LEVELS = 16  # latencies below the bound, each the square root of a half of the one before
STALE = 0.5  # seconds by which the counts of one process may be older than those of another
OFTEN = 0.25  # of the requests exceed the level at which their dependence is measured


@dataclass(frozen=True)
class Moment:
    """What was known at one moment of a stage, from its start.

    Attributes:
        seconds: time since the start.
        sent: requests sent.
        ended: requests that were answered, failed, or are under way for longer than the bound.
        violations: those of them that violate the bound: late, wrong, failed or not sent.
        answered: answers, and ``waited`` the sum of their latencies in seconds.
        slower: answers that took longer than each of the levels.
    """

    seconds: float = 0.0
    sent: int = 0
    ended: int = 0
    violations: int = 0
    answered: int = 0
    waited: float = 0.0
    slower: tuple[int, ...] = (0,) * LEVELS


class Windows:
    """The moments of a stage at which its progress was reported; a window is the time between two of them."""

    def __init__(self, bound: float) -> None:
        self.bound: float = bound
        self.levels: list[float] = [bound * 0.5 ** (index / 2) for index in range(LEVELS)]
        self.moments: list[Moment] = [Moment()]

    def add(self, measured: Measured) -> Moment:
        """Add what a stage measured until now, and return it with the requests that are overdue.

        A request counts once it is answered or has failed, or once it is under way for longer than the bound. So a
        server that stops answering violates the bound at once, and not when its answers arrive.
        """
        ended = measured.answered + measured.failed + measured.unsent
        violations = measured.answered - measured.good + measured.failed + measured.unsent
        sent = self._sent_until(measured.seconds - self.bound - STALE)
        overdue = max(0, sent - measured.answered - measured.failed)
        moment = Moment(
            measured.seconds,
            measured.sent,
            ended + overdue,
            violations + overdue,
            measured.answered,
            measured.latency.total / 1e9,
            tuple(measured.latency.above(self.levels)),
        )
        self.moments.append(moment)
        return moment

    def _sent_until(self, seconds: float) -> int:
        return next((each.sent for each in reversed(self.moments) if each.seconds <= seconds), 0)

    def inflation(self) -> tuple[float, int]:
        """How many times larger the variance of the share of violations is than of independent requests.

        Returns it, at least 1, and the number of batches that it comes from: fewer are less reliable. Violations
        are too rare to show it alone: where a queue makes them come in groups, most stages have no group. So it is
        also measured at a level that more requests exceed, and the larger value counts.
        """
        last = self.moments[-1]
        level = next((index for index, count in enumerate(last.slower) if count > OFTEN * last.answered), LEVELS - 1)
        return max(
            _inflation([(each.ended, each.violations) for each in self.moments]),
            _inflation([(each.answered, each.slower[level]) for each in self.moments]),
        )

    def growth(self) -> tuple[float, float]:
        """The trend of the latency: its increase in seconds per second, and how steady it is (Kendall's tau, to 1).

        A server that is offered 1.1 times what it can serve falls behind by 0.1 seconds per second.
        """
        points = [
            ((before.seconds + after.seconds) / 2, (after.waited - before.waited) / (after.answered - before.answered))
            for before, after in itertools.pairwise(self.moments)
            if after.answered > before.answered
        ]
        joined = max(1, len(points) // 24)
        points = [
            (sum(time for time, _ in part) / joined, sum(mean for _, mean in part) / joined)
            for part in (points[index : index + joined] for index in range(0, len(points) - joined + 1, joined))
        ]
        slopes = sorted(
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for index, earlier in enumerate(points)
            for later in points[index + 1 :]
            if later[0] > earlier[0]
        )
        if not slopes:
            return 0.0, 0.0
        rising = sum(slope > 0 for slope in slopes) - sum(slope < 0 for slope in slopes)
        return slopes[len(slopes) // 2], rising / len(slopes)


def _inflation(sums: list[tuple[int, int]]) -> tuple[float, int]:
    """Return the inflation, from running sums of requests and of those that count, by the variance between batches."""
    count = min(BATCHES, len(sums) - 1)
    while True:
        marks = [sums[round(index * (len(sums) - 1) / count)] for index in range(count + 1)]
        batches = [
            (max(0, after[0] - before[0]), max(0, after[1] - before[1])) for before, after in itertools.pairwise(marks)
        ]
        requests = sum(size for size, _ in batches)
        share = sum(counted for _, counted in batches) / requests if requests else 0.0
        if not 0 < share < 1:
            return 1.0, count
        rests = [counted - share * size for size, counted in batches]
        square = sum(rest * rest for rest in rests)
        neighbours = sum(one * other for one, other in itertools.pairwise(rests))
        if neighbours <= CORRELATED * square or count // 2 < FEWEST:
            return max(1.0, count / max(1, count - 1) * square / (requests * share * (1 - share))), count
        count //= 2
