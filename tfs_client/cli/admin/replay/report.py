"""The output of tfs-admin replay: a line for each difference, or JSON for each call; and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfs_client._printable import bounded, counted, printable, shown
from tfs_client.cli.admin.replay.replayed_calls import ReplayedCall
from tfs_client.cli.json_output import dumps
from tfs_client.recordings.differences import Difference

LONGEST = 200  # characters of a reason
WIDTHS = (6, 16, 24, 20, 16)
HEADER = (
    "  ".join(
        text.ljust(width) for text, width in zip(("CALL", "METHOD", "MODEL", "OUTPUT", "INDEX"), WIDTHS, strict=True)
    )
    + "  DIFFERENCE"
)


def rows(call: ReplayedCall) -> str:
    """Return a line for each difference: the place of the greatest distance, both values, and how many differ."""
    spec = call.spec
    model = spec.name
    if spec.version is not None or spec.label is not None:
        model += f":{spec.label if spec.version is None else spec.version}"
    lines = []
    for difference in call.differences:
        element = difference.worst or (difference.elements[0] if difference.elements else None)
        place = "" if element is None else str(list(element.index))
        cells = (str(call.number), call.method, model, difference.alias, place)
        left = "  ".join(printable(cell).ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
        lines.append(f"{left}  {_text(difference)}")
    return "\n".join(lines)


def _text(difference: Difference) -> str:
    if difference.reason:
        return " ".join(bounded(difference.reason, LONGEST).split())
    element = difference.worst or difference.elements[0]
    by = "" if difference.largest is None else f", off by {difference.largest:.6g}"
    of = f"; {difference.differing} of {difference.size} values differ" if difference.size > 1 else ""
    return f"expected {shown(element.expected)}, got {shown(element.got)}{by}{of}"


def line(call: ReplayedCall) -> str:
    """Return a call as JSON in one line."""
    return dumps(
        {
            "call": call.number,
            "method": call.method,
            "model": call.spec.name,
            "version": call.spec.version,
            "label": call.spec.label,
            "signature": call.spec.signature,
            "code": call.got.code.name,
            "same": not call.differences,
            "differences": [_values(each) for each in call.differences],
            "seconds": round(call.got.seconds, 6),
        }
    )


def _values(difference: Difference) -> dict[str, object]:
    found: dict[str, object] = {"output": difference.alias}
    if difference.reason:
        found["reason"] = difference.reason
        return found
    element = difference.worst or difference.elements[0]
    return found | {
        "index": list(element.index),
        "expected": _plain(element.expected),
        "got": _plain(element.got),
        "off_by": difference.largest,
        "differing": difference.differing,
        "values": difference.size,
    }


def _plain(value: object) -> object:
    """Return a value that JSON has; NaN, infinities, bytes and complex numbers as text."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return value if isinstance(value, (bool, int, str)) else str(value)


@dataclass(frozen=True)
class Summary:
    """The end of a replay.

    Attributes:
        same, different: the numbers of calls.
        left: the numbers of calls that were not sent, by reason.
        seconds: how long each call took.
        before: how long it took when it was recorded, or at the baseline; 0 if unknown.
        total: the seconds that the whole replay took.
        concurrency: how many calls ran at the same time.
    """

    same: int
    different: int
    left: Mapping[str, int]
    seconds: Sequence[float]
    before: Sequence[float]
    total: float
    concurrency: int = 1

    def __str__(self) -> str:
        count = self.same + self.different
        at_once = f" with --concurrency {self.concurrency}" if self.concurrency > 1 else ""
        lines = [
            f"{counted(count, 'calls')}: {self.same} same, {self.different} different; {self.total:.1f} s",
            f"latency{at_once}: {_latencies(self.seconds)}",
        ]
        known = [each for each in self.before if each]
        if known:
            lines[-1] += f"; before: {_latencies(known)}"
        lines += [f"left out: {counted(number, reason)}" for reason, number in self.left.items()]
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return the same as JSON in one line."""
        known = [each for each in self.before if each]
        return dumps(
            {
                "same": self.same,
                "different": self.different,
                "left_out": dict(self.left),
                "median_seconds": _quantile(self.seconds, 0.5),
                "p95_seconds": _quantile(self.seconds, 0.95),
                "median_seconds_before": _quantile(known, 0.5) if known else None,
                "p95_seconds_before": _quantile(known, 0.95) if known else None,
            }
        )


def _latencies(seconds: Sequence[float]) -> str:
    return f"median {_quantile(seconds, 0.5) * 1e3:.1f} ms, 95 % below {_quantile(seconds, 0.95) * 1e3:.1f} ms"


def _quantile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 6)
