"""Assertions about the calls of a fake server: AssertionErrors that show what came nearest, and how it differs."""

from __future__ import annotations

from collections.abc import Sequence

from tfs_client._printable import counted, shown
from tfs_client.errors import ConfigError
from tfs_client.server import ServedCall
from tfs_client.testing.verification.call_patterns import CallPattern, describe
from tfs_client.testing.verification.failure_texts import failure, numbered
from tfs_client.testing.verification.known_models import KnownModels
from tfs_client.testing.verification.possible_calls import check_possible

MOST_CALLS = 5  # that a message shows


def assert_called(calls: Sequence[ServedCall], pattern: CallPattern, times: int | None, known: KnownModels) -> None:
    """Raise AssertionError unless a call matches; with ``times``, unless exactly so many do, as far as can be told.

    Raises ConfigError if there must be none, and none ever can match.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise ConfigError(f"expected times= to be a number of calls, got {shown(times)}")
    matching: list[ServedCall] = []
    others: list[ServedCall] = []
    for call in calls:
        (others if pattern.mismatches(call) else matching).append(call)
    count, unknown = len(matching), sum(map(pattern.may_match, others))
    if (count == times and not unknown) or (times is None and count):
        if not count:
            check_possible(pattern, calls, known)
        return
    wanted = f"expected at least one {pattern}" if times is None else f"expected {times} {pattern.text(times)}"
    if not others or count > (times or 0):
        text = f"{wanted}\ngot {_count(matching)}{_listed(matching)}"
    else:
        among = f"{count} among " if count else ""
        if count == times:  # and a call may match that is not counted
            among = f"{count}, or up to {count + unknown}, among "
        text = f"{wanted}\ngot {among}{_count(calls)}{_nearest(others, pattern)}"
    raise failure(text)


def assert_called_once_with(calls: Sequence[ServedCall], pattern: CallPattern) -> None:
    """Raise AssertionError unless exactly one call is selected by the pattern, and matches it."""
    __tracebackhide__ = True
    selected = [call for call in calls if pattern.selects(call)]
    if len(selected) == 1:
        if reasons := pattern.mismatches(selected[0]):
            raise failure(f"expected one {pattern}\ngot {_explained(selected[0], reasons)}")
        return
    if not selected:
        nearest = _nearest(calls, pattern)
        raise failure(f"expected one {pattern}\ngot {_count(calls)}{nearest}")
    text = f"expected one {pattern}\ngot {_count(selected)}{_listed(selected)}"
    raise failure(text)


def assert_not_called(calls: Sequence[ServedCall], pattern: CallPattern, known: KnownModels) -> None:
    """Raise AssertionError if a call matches, or may match; ConfigError if none ever can."""
    __tracebackhide__ = True
    if matching := [call for call in calls if not pattern.mismatches(call)]:
        raise failure(f"expected no {pattern}\ngot {_count(matching)}{_listed(matching)}")
    if unknown := [call for call in calls if pattern.may_match(call)]:
        raise failure(f"expected no {pattern}\ngot {_count(unknown)} that may be one{_nearest(unknown, pattern)}")
    check_possible(pattern, calls, known)


def nearest_first(reasons: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of what matches best: the fewest reasons against it, and the latest of equals."""
    return sorted(range(len(reasons)), key=lambda place: (len(reasons[place]), -place))


def _nearest(calls: Sequence[ServedCall], pattern: CallPattern) -> str:
    """Return the calls that came nearest, and why they do not match."""
    if not calls:
        return ""
    reasons = [pattern.mismatches(call) for call in calls]
    texts = [_explained(calls[place], reasons[place]) for place in nearest_first(reasons)]
    return f"; those that came nearest:\n{numbered(texts, MOST_CALLS)}"


def _listed(calls: Sequence[ServedCall]) -> str:
    return ":\n" + numbered([describe(call) for call in calls], MOST_CALLS) if calls else ""


def _explained(call: ServedCall, reasons: Sequence[str]) -> str:
    return "\n".join([describe(call), *(f"  {line}" for reason in reasons for line in reason.splitlines())])


def _count(calls: Sequence[ServedCall]) -> str:
    return counted(len(calls), "calls") if calls else "no calls"
