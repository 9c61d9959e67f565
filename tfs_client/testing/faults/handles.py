"""Handles of the faults that were added: the calls that they are for, and how many they have had an effect on.

A fault of a reply has no effect on a call that fails. So it is reserved for a call on its arrival, and counts once the
reply is there; a call that ends without one gives it back, and the next call gets it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import counted
from tfs_client.server.call_record import ServedCall
from tfs_client.testing.faults import kinds
from tfs_client.testing.faults.call_matcher import CallMatcher
from tfs_client.testing.faults.kinds import Fault

REFUSALS = (kinds.DeadlineOverrun, kinds.Status, kinds.Busy, kinds.QueueFull, kinds.HtmlErrorPage)
LATENCIES = (kinds.Latency, kinds.UniformLatency, kinds.LognormalLatency)
# These have an effect only if the call succeeds, or if there is a version to unload.
CONDITIONAL = (
    kinds.TruncatedReply,
    kinds.GarbageReply,
    kinds.OversizedReply,
    kinds.SlowReply,
    kinds.VersionVanishes,
)


@dataclass
class CallFault:
    """A fault of one call.

    Attributes:
        fault: the fault; random latencies are drawn.
        handle: what it comes from.
        place: the number of the call in its sequence.
        reserved: whether it still waits for its effect, and does not count yet.
    """

    fault: Fault
    handle: FaultHandle
    place: int
    reserved: bool


Discard = Callable[["FaultHandle", bool], None]
"""Removes a handle; True: ``unused`` still lists it."""


class FaultHandle(ABC):
    """A handle to an added fault or sequence.

    Leaving its ``with`` block removes it. If it is unused then, ``Faults.unused`` still lists it.

    Attributes:
        used: the number of calls that it has had an effect on.
    """

    def __init__(self, matcher: CallMatcher, discard: Discard, lengths: Random) -> None:
        self.used: int = 0
        self._reserved = 0
        self._matcher = matcher
        self._discard = discard
        self._lengths = lengths

    def remove(self) -> None:
        """Remove it: later calls are not affected, replies that it slows down speed up, ``unused`` does not list it.

        Calling it again has no effect.
        """
        self._discard(self, False)

    @abstractmethod
    def decide(self, call: ServedCall, spec: ModelSpec) -> CallFault | None:
        """Return the fault of a matching call, if any, and count or reserve it. One call is decided at a time."""

    def _decided(self, fault: Fault, place: int) -> CallFault:
        reserved = is_conditional(fault)
        if reserved:
            self._reserved += 1
        else:
            self._count_one()
        drawn = fault.drawn(self._lengths) if isinstance(fault, LATENCIES) else fault
        return CallFault(drawn, self, place, reserved)

    def _count_one(self) -> None:
        self.used += 1

    def count(self) -> None:
        """Count a reserved fault, because it has an effect."""
        self._reserved -= 1
        self._count_one()

    def give_back(self, found: CallFault) -> None:
        """Reserve a fault no longer: the next call gets it."""
        self._reserved -= 1

    @property
    @abstractmethod
    def spent(self) -> bool:
        """Whether it affects no further calls."""

    @property
    @abstractmethod
    def unused(self) -> bool:
        """Whether calls that it was made for have not come: any at all, or as many as ``times`` or the steps say."""

    @property
    def over(self) -> bool:
        """Whether it is spent, and holds no version in a state."""
        return self.spent

    def matches(self, call: ServedCall, spec: ModelSpec) -> bool:
        """Return whether it is for this call."""
        return self._matcher.matches(call, spec)

    def end(self) -> None:  # noqa: B027  # only sequences hold one
        """End what it holds in a state."""

    def __enter__(self) -> FaultHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._discard(self, self.unused)


class FaultRule(FaultHandle):
    """One fault, for a number of calls, for a share of them, or until it is removed."""

    def __init__(
        self,
        fault: Fault,
        matcher: CallMatcher,
        times: int | None,
        share: float,
        seed: int,
        discard: Discard,
    ) -> None:
        super().__init__(matcher, discard, Random(f"{seed} lengths"))
        self._fault = fault
        self._times = times
        self._share = share
        self._chance = Random(seed)

    def decide(self, call: ServedCall, spec: ModelSpec) -> CallFault | None:
        """See FaultHandle."""
        if self._times is not None and self.used + self._reserved >= self._times:
            return None
        if self._share < 1 and self._chance.random() >= self._share:
            return None
        return self._decided(self._fault, 0)

    @property
    def spent(self) -> bool:
        """See FaultHandle."""
        return self._times is not None and self.used >= self._times

    @property
    def unused(self) -> bool:
        """See FaultHandle."""
        return self.used < (self._times or 1)

    def __repr__(self) -> str:
        times = "" if self._times is None else f", times={self._times}"
        share = "" if self._share == 1 else f", share={self._share}"
        used = f"{self.used} times" if self._times is None else f"{self.used} of {counted(self._times, 'times')}"
        return f"faults.add({self._fault!r}{self._matcher}{times}{share}), used {used}"


def is_conditional(fault: Fault) -> bool:
    """Return whether it depends on the call if the fault has an effect."""
    return isinstance(fault, CONDITIONAL) or (isinstance(fault, kinds.ConnectionReset) and fault.after_bytes > 0)


def refuses(fault: Fault) -> bool:
    """Return whether a call with this fault ends without an answer of the model."""
    return isinstance(fault, REFUSALS) or (isinstance(fault, kinds.ConnectionReset) and not fault.after_bytes)
