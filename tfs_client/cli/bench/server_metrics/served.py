"""Served: what a server did during a stage, from its metrics before and after.

The model server writes sums with six digits. After some days, the difference of two sums is mostly rounding; the mean
is then left out, and only the buckets count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import floor, inf, log10, nan

from tfs_client._printable import counted
from tfs_client.cli.bench.server_metrics.exposition import Exposition

_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"
REQUESTS = f"{_SERVING}request_count"
LATENCY = f"{_SERVING}request_latency"
RUNTIME = f"{_SERVING}runtime_latency"
QUEUING = f"{_BATCHING}queuing_latency"
BATCHES = f"{_BATCHING}wrapped_run_count"
BATCH_SIZE = f"{_BATCHING}processed_batch_size"
NAMES = (REQUESTS, LATENCY, RUNTIME, QUEUING, BATCHES, BATCH_SIZE)

MICROSECONDS = 1e-6
PRECISION = 0.05  # of a mean; one that rounding may move further is left out


class Restarted(Exception):
    """A count of the server has fallen, so the difference means nothing."""


@dataclass(frozen=True)
class Distribution:
    """A histogram of the server: durations in seconds, or sizes.

    Attributes:
        buckets: the upper limit and the count of each bucket, ascending; the last limit is infinite.
        mean: NaN without a sample, and where the server's rounding hides it.
    """

    buckets: tuple[tuple[float, int], ...]
    mean: float

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(count for _, count in self.buckets)

    def quantile(self, share: float) -> tuple[float, float]:
        """The limits of the bucket with this quantile, which is all that is known; NaN without a sample."""
        rank, seen, low = share * self.count, 0, 0.0
        for high, count in self.buckets:
            seen += count
            if count and seen >= rank:
                return low, high
            low = high
        return nan, nan


@dataclass(frozen=True)
class Served:
    """What the server counted during a stage, its warm-up included.

    Attributes:
        requests: requests for the model by status code, over gRPC and REST, from all clients.
        latency: the time of successful requests in the server, over the transport of the run.
        runtime: the time in the model.
        queuing: the time in the batching queues of all models.
        batch_size: the size of the executed batches of all models, with padding.
        batches: executed batches of all models; None if the server does not count them.
        notes: caveats.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    latency: Distribution | None = None
    runtime: Distribution | None = None
    queuing: Distribution | None = None
    batch_size: Distribution | None = None
    batches: int | None = None
    notes: tuple[str, ...] = ()


def served(before: Exposition, after: Exposition, model: str, transport: str) -> Served:
    """Return what happened between two scrapes.

    Args:
        before, after: the pages.
        model: the name of the model that was called.
        transport: "grpc" or "rest".

    Raises Restarted.
    """
    ours = {"model_name": model}
    requests = {
        labels.get("status", ""): _whole(count)
        for labels, count in _differences(before, after, REQUESTS, ours, by=("status",))
        if count
    }
    batches = [count for _, count in _differences(before, after, BATCHES, {}, by=())]
    notes = []
    for page, when in ((before, "before"), (after, "after")):
        if page.unread:
            lines = counted(page.unread, "lines")
            notes.append(f"the metrics page {when} the stage has {lines} that cannot be read, such as {page.example}")
    latency = _distribution(before, after, LATENCY, {**ours, "entrypoint": transport.upper()}, MICROSECONDS)
    if not any(_concerns(after, name, ours) for name in (REQUESTS, LATENCY)):
        notes.append("the metrics page does not mention the model")
    return Served(
        requests=requests,
        latency=latency,
        runtime=_distribution(before, after, RUNTIME, ours, MICROSECONDS),
        queuing=_distribution(before, after, QUEUING, {}, MICROSECONDS),
        batch_size=_distribution(before, after, BATCH_SIZE, {}, 1),
        batches=_whole(sum(batches)) if batches else None,
        notes=tuple(notes),
    )


def _concerns(page: Exposition, name: str, labels: Mapping[str, str]) -> bool:
    names = (name, f"{name}_count")
    return any(True for each in names for _ in page.series(each, **labels))


def _differences(
    before: Exposition, after: Exposition, name: str, labels: Mapping[str, str], by: Sequence[str]
) -> Iterator[tuple[dict[str, str], float]]:
    """Yield what was added to series with these labels, summed over all but the labels ``by``. Raises Restarted."""
    earlier = {tuple(sorted(own.items())): value for own, value in before.series(name, **labels)}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for own, value in after.series(name, **labels):
        more = value - earlier.pop(tuple(sorted(own.items())), 0.0)
        if more < 0:
            raise Restarted
        key = tuple((label, own.get(label, "")) for label in by)
        sums[key] = sums.get(key, 0.0) + more
    if any(earlier.values()):  # a series that had counts is missing
        raise Restarted
    yield from ((dict(key), value) for key, value in sums.items())


def _distribution(
    before: Exposition, after: Exposition, name: str, labels: Mapping[str, str], unit: float
) -> Distribution | None:
    """The samples that were added to a histogram; None if there were none. Raises Restarted."""
    below: dict[float, float] = {}
    for own, count in _differences(before, after, f"{name}_bucket", labels, by=("le",)):
        limit = _limit(own["le"])
        if limit == limit:  # not NaN
            below[limit] = below.get(limit, 0.0) + count
    limits = sorted(below)
    if not limits or limits[-1] != inf or not below[inf]:
        return None
    cumulative = [0, *(_whole(below[limit]) for limit in limits)]
    counts = [high - low for low, high in pairwise(cumulative)]
    if min(counts) < 0:
        return None  # not a histogram
    buckets = tuple((limit * unit, count) for limit, count in zip(limits, counts, strict=True))
    return Distribution(buckets, _mean(before, after, name, labels, cumulative[-1]) * unit)


def _mean(before: Exposition, after: Exposition, name: str, labels: Mapping[str, str], count: int) -> float:
    """The mean of the added samples; NaN if the rounding of the sums hides it."""
    total = uncertain = 0.0
    for sign, page in ((-1, before), (1, after)):
        for _, value in page.series(f"{name}_sum", **labels):
            total += sign * value
            uncertain += _rounding(value)
    return total / count if total >= 0 and uncertain <= PRECISION * total else nan


def _rounding(value: float) -> float:
    """By how much a number with six digits may differ from what it stands for."""
    return 0.5 * 10.0 ** (floor(log10(abs(value))) - 5) if value else 0.0


def _limit(text: str) -> float:
    try:
        return inf if text == "+Inf" else float(text)
    except ValueError:
        return nan


def _whole(value: float) -> int:
    return round(value)
