"""Faults: which calls of a fake server have which faults.

Rules are asked in the order in which they were added. Each counts the calls that match it and decides the n-th of them
by its n-th draw, so that a seed gives the same faults in every run. The first fault that refuses the call ends the
question: later rules do not count the call. A fault counts when it has an effect; see handles.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.server.call_record import ServedCall
from tfs_client.testing import faults
from tfs_client.testing.faults.argument_checks import check_count, check_number
from tfs_client.testing.faults.broken_replies import html_page
from tfs_client.testing.faults.call_matcher import CallMatcher, TransportName
from tfs_client.testing.faults.handles import CallFault, FaultHandle, FaultRule, refuses
from tfs_client.testing.faults.kinds import Fault
from tfs_client.testing.faults.model_states import ModelStates
from tfs_client.testing.faults.sequence_steps import Step, check_fault, check_step
from tfs_client.testing.faults.sequences import FaultSequence, check_versions
from tfs_client.testing.relay.relay import ConnectionRelay


class Faults:
    """The faults of a fake server. Its methods may be called from any thread, before the start and while calls run.

    By default faults apply to Predict, Classify, Regress and MultiInference. GetModelMetadata and GetModelStatus have
    them only if ``method=`` names the method: clients call these by themselves, so that a fault meant for the next
    prediction would hit a look-up. Steps of sequences that change a version's state are for look-ups too.

    A fault of a successful reply (truncated, garbage, oversized, slow, reset after some bytes) waits for one: a call
    that fails, is refused or is given up by its client does not use it up, and the next call has it. The same
    applies to VersionVanishes and a call that finds no version.

    Args:
        states: the states of the versions.
        relay: breaks connections.
    """

    def __init__(self, states: ModelStates, relay: ConnectionRelay) -> None:
        self._states = states
        self._relay = relay
        self._lock = threading.Lock()
        self._handles: list[FaultHandle] = []
        self._ended: list[FaultHandle] = []  # unused at the end of their ``with`` blocks
        self._slowed: dict[str, FaultHandle] = {}  # by client, what has slowed down its connection last
        self._failed: list[str] = []

    def add(
        self,
        fault: Fault,
        *,
        model: str | None = None,
        method: str | None = None,
        signature: str | None = None,
        transport: TransportName | None = None,
        times: int | None = None,
        share: float = 1.0,
        seed: int = 0,
    ) -> FaultHandle:
        """Add a fault. Several may apply to one call: latencies add up, and the first one that refuses it ends it.

        Args:
            fault: see ``tfs_client.testing.faults``.
            model: only for calls of this model.
            method: only for this API method; by default for all that run a model.
            signature: only for this signature. A request without one asks for "serving_default".
            transport: only over "grpc" or "rest".
            times: number of calls (default: until removed).
            share: the probability that a matching call has the fault, above 0.
            seed: the same seed selects the same ones among the matching calls, in the order of their arrival.

        Returns a handle, to remove it and to see how often it was used. Raises ConfigError for arguments that
        contradict each other.
        """
        check_fault(fault)
        matcher = self._matcher([fault], model, method, signature, transport)
        if times is not None:
            check_count("times", times)
        check_number("a share", share, 0, 1, above=True)
        return self._added(FaultRule(fault, matcher, times, share, _checked_seed(seed), self._discard))

    def sequence(
        self,
        steps: Sequence[Step],
        *,
        model: str | None = None,
        method: str | None = None,
        signature: str | None = None,
        transport: TransportName | None = None,
        seed: int = 0,
    ) -> FaultHandle:
        """Add steps that matching calls go through, in the order of their arrival: one call per step.

        ``Repeat(fault, times=3)`` and ``Pass(times=3)`` are steps of several calls. VersionLoading, VersionUnloading
        and VersionFails change the state of a version, and are for calls of GetModelMetadata and GetModelStatus too
        (whatever ``signature=`` says), unless ``method=`` names a method. After the last step calls are answered
        normally.

        A step that cannot be played, because its version does not serve for example, fails its call with INTERNAL, and
        ``FakeServer.check`` reports it. The other arguments are those of ``add``; ``seed`` draws the lengths of random
        latencies. Raises ConfigError also for a step that certainly cannot be played.
        """
        if isinstance(steps, (str, bytes, Mapping)) or not isinstance(steps, Iterable):
            raise ConfigError(f"expected a list of steps, got {shown(steps)}")
        steps = list(steps)
        if not steps:
            raise ConfigError("expected at least one step, got none")
        for step in steps:
            check_step(step)
        check_versions(steps, None if model is None else partial(self._states.is_available, model))
        found = [step.fault if isinstance(step, faults.Repeat) else step for step in steps]
        matcher = self._matcher(found, model, method, signature, transport)
        seed = _checked_seed(seed)
        return self._added(FaultSequence(steps, matcher, seed, self._states, self._discard, self._failed.append))

    def clear(self) -> None:
        """Remove and forget all faults, and finish the versions that sequences hold LOADING or UNLOADING."""
        with self._lock:
            handles, self._handles = self._handles, []
            self._ended.clear()
            self._failed.clear()
        for handle in handles:
            handle.remove()

    @property
    def active(self) -> tuple[FaultHandle, ...]:
        """The faults and sequences that can still affect calls, in the order in which they were added."""
        with self._lock:
            return tuple(handle for handle in self._handles if not handle.spent)

    def unused(self) -> tuple[FaultHandle, ...]:
        """Return those that calls have not reached as expected, first those whose ``with`` block has ended.

        These are faults that have not had an effect on any call, or on fewer than ``times=``, and sequences that are
        not over. ``remove`` and ``clear`` forget them.
        """
        with self._lock:
            return tuple(handle for handle in (*self._ended, *self._handles) if handle.unused)

    def failed(self) -> list[str]:
        """Return the steps of sequences that could not be played, each with the reason."""
        with self._lock:
            return [*self._failed]

    def of(self, call: ServedCall, spec: ModelSpec) -> list[CallFault]:
        """Return the faults of a call that has arrived, and count or reserve them. At most the last one refuses it.

        Raises InternalError for a step that cannot be played.
        """
        if not self._handles:
            return []
        with self._lock:
            return [*self._decided(call, spec)]

    def count(self, found: CallFault) -> bool:
        """Count a fault that was reserved for a call; False if the call has given it back, so that it has no effect."""
        with self._lock:
            reserved, found.reserved = found.reserved, False
            if reserved:
                found.handle.count()
            return reserved

    def give_back(self, found: CallFault) -> None:
        """Give a reserved fault back, because its call ends without an effect; no-op if it was counted."""
        with self._lock:
            if found.reserved:
                found.reserved = False
                found.handle.give_back(found)

    def slow_down(self, call: ServedCall, found: CallFault, bytes_per_second: float, size: int) -> None:
        """Slow down a reply of this size; the removal of its fault ends that."""
        self._relay.throttle(call.peer, bytes_per_second, max(1, size))
        with self._lock:
            self._slowed[call.peer] = found.handle

    def _decided(self, call: ServedCall, spec: ModelSpec) -> Iterator[CallFault]:
        for handle in [*self._handles]:
            found = handle.decide(call, spec) if handle.matches(call, spec) else None
            if found is not None:
                yield found
                if refuses(found.fault):
                    return

    def _added(self, handle: FaultHandle) -> FaultHandle:
        with self._lock:
            self._handles = [*(known for known in self._handles if not known.over), handle]
        return handle

    def _discard(self, handle: FaultHandle, listed: bool) -> None:
        with self._lock:
            found, self._handles = self._handles, [known for known in self._handles if known is not handle]
            if not listed:
                self._ended = [known for known in self._ended if known is not handle]
            elif len(found) > len(self._handles):  # it was not removed or forgotten within its block
                self._ended.append(handle)
            handle.end()
            slowed = [peer for peer, slowing in self._slowed.items() if slowing is handle]
            for peer in slowed:
                del self._slowed[peer]
        for peer in slowed:
            self._relay.throttle(peer, None)

    def _matcher(
        self,
        found: Sequence[object],
        model: str | None,
        method: str | None,
        signature: str | None,
        transport: TransportName | None,
    ) -> CallMatcher:
        matcher = CallMatcher(model, method, signature, transport)
        for fault in found:
            self._check_relay(fault, transport)
        return matcher

    def _check_relay(self, fault: object, transport: TransportName | None) -> None:
        """Raise ConfigError if the fault needs a relay that the server does not have."""
        if isinstance(fault, (faults.ConnectionReset, faults.SlowReply)):
            self._relay.check_faults(transport)
        if isinstance(fault, faults.TruncatedReply) and transport != "grpc":
            self._relay.check_faults("rest")
        if isinstance(fault, faults.HtmlErrorPage) and transport != "rest":
            self._relay.check_page("grpc", html_page(fault.status, fault.page).content)


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"expected the seed as an int, got {shown(seed)}")
    return seed
