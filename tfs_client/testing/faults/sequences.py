"""FaultSequence: steps that calls go through in order, and the states of versions that they begin and end.

A step of a fault, and Pass, is for calls that run a model. A step that changes a version's state is for look-ups too: a
client that looks for signatures first, or that waits for the model, makes no other calls while the version is away, and
the step would not end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import counted
from tfs_client.errors import ConfigError, InternalError
from tfs_client.server.call_record import ServedCall
from tfs_client.testing.faults.call_matcher import CallMatcher
from tfs_client.testing.faults.handles import CallFault, Discard, FaultHandle
from tfs_client.testing.faults.model_states import HeldState, ModelStates
from tfs_client.testing.faults.sequence_steps import (
    VERSION_STEPS,
    Pass,
    Repeat,
    Step,
    VersionFails,
    VersionLoading,
    VersionStep,
    VersionUnloading,
)


class FaultSequence(FaultHandle):
    """Steps that are played in order, each for its number of calls.

    Args:
        steps: the steps.
        matcher: the calls.
        seed: draws the lengths of random latencies.
        states: the states of versions.
        discard: removes the sequence.
        failed: called with the reason if a step cannot be played.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        matcher: CallMatcher,
        seed: int,
        states: ModelStates,
        discard: Discard,
        failed: Callable[[str], None],
    ) -> None:
        super().__init__(matcher, discard, Random(f"{seed} lengths"))
        self._steps = [(step, getattr(step, "times", 1)) for step in steps]
        self._total = sum(times for _, times in self._steps)
        self._begun = 0  # calls that steps have begun for
        self._returned: list[int] = []  # places of calls that have given their step back
        self._states = states
        self._state: HeldState | None = None
        self._last: HeldState | None = None  # the last state, which may still hold for some seconds
        self._version: int | None = None  # of the last version step
        self._failed: Callable[[str], None] = failed

    def matches(self, call: ServedCall, spec: ModelSpec) -> bool:
        """See FaultHandle."""
        return super().matches(call, spec) or self._matcher.matches_lookup(call, spec)

    def decide(self, call: ServedCall, spec: ModelSpec) -> CallFault | None:
        """See FaultHandle."""
        looks_up = not super().matches(call, spec)
        if self._returned and not looks_up:
            return self._played(heapq.heappop(self._returned))
        step, place = self._step(self._begun)
        if place == 0:
            self.end()
        if step is None or (looks_up and not isinstance(step, VERSION_STEPS)):
            return None
        self._begun += 1
        if not isinstance(step, VERSION_STEPS):
            return self._played(self._begun - 1)
        self._count_one()
        if place == 0:
            self._begin(step, spec)
        return None

    def _played(self, number: int) -> CallFault | None:
        step = self._step(number)[0]
        assert not isinstance(step, VERSION_STEPS)
        if step is None or isinstance(step, Pass):
            self._count_one()
            return None
        return self._decided(step.fault if isinstance(step, Repeat) else step, number)

    def _step(self, number: int) -> tuple[Step | None, int]:
        """Return the step of a call, None after the last one, and the call's place in it."""
        for step, times in self._steps:
            if number < times:
                return step, number
            number -= times
        return None, 0

    def _begin(self, step: VersionStep, spec: ModelSpec) -> None:
        """Begin the state of a step. Raises InternalError if that is impossible."""
        version = step.version
        if version is None:
            version = self._states.version_of(spec)
        if version is None:
            version = self._version
        try:
            if version is None:
                raise ConfigError(f"the call gets no version of model {spec.name!r}; name one with version=")
            if self._last is not None and (self._last.model, self._last.version) == (spec.name, version):
                self._last.finish()
            self._state = self._states.begin(step, spec.name, version)
            self._last = self._state or self._last
        except ConfigError as error:
            reason = f"{step} of {self!r}: {error}"
            self._failed(reason)
            raise InternalError(f"a step of faults.sequence cannot be played: {reason}") from None
        self._version = version

    def give_back(self, found: CallFault) -> None:
        """See FaultHandle."""
        super().give_back(found)
        heapq.heappush(self._returned, found.place)

    def end(self) -> None:
        """End the state of the last step, unless it ends by itself."""
        state, self._state = self._state, None
        if state is not None and state.seconds is None:
            state.finish()

    @property
    def spent(self) -> bool:
        """See FaultHandle."""
        return self.used >= self._total

    @property
    def unused(self) -> bool:
        """See FaultHandle."""
        return not self.spent

    @property
    def over(self) -> bool:
        """See FaultHandle."""
        return self.spent and self._state is None

    def __repr__(self) -> str:
        steps = ", ".join(repr(step) for step, _ in self._steps)
        return f"faults.sequence([{steps}]{self._matcher}), used {self.used} of {counted(self._total, 'calls')}"


def check_versions(steps: Sequence[Step], served: Callable[[int], bool] | None) -> None:
    """Raise ConfigError for a version that cannot be unloaded when its step comes.

    Args:
        steps: the steps.
        served: returns whether a version of the sequence's model serves now; None for a sequence without a model.
    """
    loaded: dict[int, bool] = {}
    for step in steps:
        version = getattr(step, "version", None)
        if version is None:
            continue
        if isinstance(step, VersionUnloading) and not loaded.get(version, served is None or served(version)):
            where = "earlier steps have taken it away" if version in loaded else "add the model first"
            raise ConfigError(f"{step}: version {version} does not serve then; {where}")
        if isinstance(step, (VersionUnloading, VersionFails)):
            loaded[version] = False
        elif isinstance(step, VersionLoading):
            loaded[version] = True
