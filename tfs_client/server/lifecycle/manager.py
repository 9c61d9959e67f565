"""Manager: reconciles the managed versions of each model with the aspired ones.

A source reports the aspired versions of a model (``aspire``). The manager asks its version policy for the next action
until the policy returns none, and asks again whenever a load or unload ends. It has no timer: the model server looks
ten times a second, this manager acts on each event at once. Source: core/aspired_versions_manager.cc.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

from tfs_client.errors import StatusCode
from tfs_client.results import State, VersionStatus
from tfs_client.server.config import Retries
from tfs_client.server.lifecycle.aspired_version_policy import (
    Action,
    AspiredServableStateSnapshot,
    AspiredVersionPolicy,
    ServableAction,
    availability_preserving,
)
from tfs_client.server.lifecycle.basic_manager import BasicManager
from tfs_client.server.lifecycle.loader import Loader
from tfs_client.server.lifecycle.loader_harness import LoaderHarness, ServableHandle
from tfs_client.server.lifecycle.serving_map import LabelTable
from tfs_client.server.lifecycle.states import ENDED, TRANSIENT, Phase

__all__ = ["Manager", "ServableHandle"]

log: logging.Logger = logging.getLogger("tfs_client.server")


class Manager(BasicManager):
    """All versions of all models: those that a source aspires, and those that were added by ``add``.

    Args:
        policy: decides the next action for a model.

    The other arguments are those of BasicManager.
    """

    # Reconciliation. Three facts describe a model: the list of aspired versions that waits to be applied (_pending),
    # the flag is_aspired of each managed version, and the phase of each. The invariants:
    #
    # - A list is applied as a whole or not at all, because the policy must never see a mixture of two lists. It waits
    #   while a version in it was no longer aspired and is still loading or unloading: that version needs a new harness,
    #   and each version has one harness at a time. A later list replaces one that waits.
    # - Every event that can enable an action ends in _reconcile, under the lock: a new list, the end of a load and the
    #   end of an unload. So no action is missed although nothing polls.
    # - Each action that the policy returns moves its version out of NEW or READY at once. So the loop in _reconcile
    #   ends, and an action is never started twice.
    # - Versions that have ended and are not aspired leave the policy's view before it is asked. Their harness stays,
    #   because GetModelStatus reports ended versions too. A version that failed stays in view while it is aspired,
    #   which is why it is not tried again.

    def __init__(
        self,
        version_labels: LabelTable | None = None,
        *,
        policy: AspiredVersionPolicy = availability_preserving,
        retries: Retries = Retries(),  # noqa: B008  frozen
        load_threads: int = 0,
        unload_threads: int = 0,
    ) -> None:
        super().__init__(version_labels, retries=retries, load_threads=load_threads, unload_threads=unload_threads)
        self._pending: dict[str, Mapping[int, Loader]] = {}
        self._policy = policy

    def aspire(self, name: str, versions: Mapping[int, Loader]) -> None:
        """Make these the aspired versions of a model. Does not wait for loads or unloads.

        Versions that are already aspired do not change. That includes versions that failed to load: they are tried
        again only after a list without them. While a version in the list is still being removed, the whole list waits
        for its end. If several lists wait, the last one counts.
        """
        with self._changed:
            self._pending[name] = versions
            self._reconcile(name)
            for workers in (
                self._loads,
                self._unloads,
            ):  # a source polls, so threads that could not be started are tried again
                workers.start_threads()

    def _reconcile(self, name: str) -> None:
        """Apply the pending list, and perform the actions of the policy until it returns none."""
        self._stop_managing(name)
        self._apply_aspired(name)
        self._stop_managing(name)
        while action := self._policy(self._snapshots(name)):
            self._perform(name, action)
        self._changed.notify_all()

    def _apply_aspired(self, name: str) -> None:
        versions, managed = self._pending.get(name), self._managed(name)
        if versions is None:
            return
        if any(number in versions and _is_being_removed(known) for number, known in managed.items()):
            return
        del self._pending[name]
        for number, known in managed.items():
            if number in versions:
                known.is_aspired = True
            else:
                known.set_unaspired()
        for number in versions.keys() - managed.keys():
            self._manage(LoaderHarness(name, number, versions[number]))

    def _stop_managing(self, name: str) -> None:
        """Stop managing versions that have ended and are not aspired. Their last status is kept."""
        for harness in self._managed(name).values():
            if not harness.is_aspired and harness.phase is Phase.NEW:
                harness.move(Phase.DISABLED)
            if not harness.is_aspired and harness.phase in ENDED:
                harness.managed = False

    def _perform(self, name: str, action: ServableAction) -> None:
        harness = self._models[name][action.version]
        if action.action is Action.LOAD:
            self._request_load(harness)
        else:
            self._request_unload(harness)

    def _managed(self, name: str) -> dict[int, LoaderHarness]:
        """The versions of a model that came from a source and are still managed."""
        known = self._models.get(name, {})
        return {number: harness for number, harness in known.items() if harness.managed and harness.loader}

    def _snapshots(self, name: str) -> list[AspiredServableStateSnapshot]:
        return [
            AspiredServableStateSnapshot(known.version, known.phase, known.is_aspired)
            for known in self._managed(name).values()
        ]

    def aspired(self, name: str) -> tuple[VersionStatus, ...]:
        """The states of the aspired versions of a model, highest first."""
        with self._changed:
            statuses = {known.version: known.status for known in self._managed(name).values() if known.is_aspired}
            if name in self._pending:  # the list waits for a version to be removed
                statuses = {
                    number: VersionStatus(number, State.START, StatusCode.OK, "") for number in self._pending[name]
                }
            return tuple(statuses[number] for number in sorted(statuses, reverse=True))

    def unload_all(self, timeout: float, loads: float = math.inf) -> bool:
        """Unload everything that came from a source, in order; False if that takes longer than ``timeout`` seconds.

        Running loads cannot be interrupted. They get at most ``loads`` seconds once all else is unloaded.
        """
        log.info("Unload all remaining servables in the manager.")
        end = time.monotonic() + timeout
        with self._changed:
            for name in [*self._models]:
                if self._has_sourced(name):
                    self.aspire(name, {})
        if self.wait_until(lambda: not any(map(self._serves, self._models)), timeout):
            end = min(end, time.monotonic() + loads)
        left = max(0.0, end - time.monotonic())
        done = self.wait_until(lambda: not any(map(self._has_sourced, self._models)), left)
        return done and all(workers.join(max(0.0, end - time.monotonic())) for workers in (self._loads, self._unloads))

    def _has_sourced(self, name: str) -> bool:
        """Whether versions of a model come from a source, or will once its pending list is applied."""
        return bool(self._pending.get(name)) or bool(self._managed(name))

    def _serves(self, name: str) -> bool:
        """Whether versions of a model from a source are still in memory; those being loaded do not count."""
        return any(known.phase not in (Phase.LOAD_REQUESTED, Phase.LOADING) for known in self._managed(name).values())


def _is_being_removed(harness: LoaderHarness) -> bool:
    return not harness.is_aspired and harness.phase in TRANSIENT
