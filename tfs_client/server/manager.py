"""Manager: brings the versions that there are in line with those that are wanted.

A source says which versions of a model are wanted (``aspire``). The manager asks its version policy for the next
action, again whenever a load or unload has ended, until there is nothing more to do. There is no clock in it: what the
model server looks at ten times a second happens here as soon as it can. Source: core/aspired_versions_manager.cc.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

from tfs_client.errors import StatusCode
from tfs_client.results import State, VersionStatus
from tfs_client.server.basic_manager import BasicManager
from tfs_client.server.harness import Handle, Harness
from tfs_client.server.loader import Loader, Retries
from tfs_client.server.policy import Action, Do, Policy, Snapshot, availability_preserving
from tfs_client.server.serving_map import LabelTable
from tfs_client.server.states import OVER, TRANSIENT, Phase

__all__ = ["Handle", "Manager"]

log = logging.getLogger("tfs_client.server")


class Manager(BasicManager):
    """All versions of all models: those that a source wants, and those that were brought along by ``add``.

    Args:
        policy: what to do next about a model whose versions are not those that are wanted.

    The others are those of BasicManager.
    """

    def __init__(
        self,
        version_labels: LabelTable | None = None,
        *,
        policy: Policy = availability_preserving,
        retries: Retries = Retries(),  # noqa: B008  frozen
        load_threads: int = 0,
        unload_threads: int = 0,
    ) -> None:
        super().__init__(version_labels, retries=retries, load_threads=load_threads, unload_threads=unload_threads)
        self._pending: dict[str, Mapping[int, Loader]] = {}
        self._policy = policy

    def aspire(self, name: str, versions: Mapping[int, Loader]) -> None:
        """Want exactly these versions of a model; returns at once.

        Versions that are wanted already are left alone, also those that failed: such a one is tried again only after
        it was not wanted for a while. While a version that is wanted again is still being torn down, the whole list
        waits for its end. Of several lists that wait the last one counts.
        """
        with self._changed:
            self._pending[name] = versions
            self._settled(name)
            for workers in (self._loads, self._unloads):  # sources come again and again, and so do threads that lacked
                workers.staff()

    def _settled(self, name: str) -> None:
        """Take over the wanted list, and do what the policy says until it has nothing more to say."""
        self._forget(name)
        self._take_over(name)
        self._forget(name)
        while action := self._policy(self._snapshots(name)):
            self._act(name, action)
        self._changed.notify_all()

    def _take_over(self, name: str) -> None:
        versions, managed = self._pending.get(name), self._managed(name)
        if versions is None or any(number in versions and _torn_down(known) for number, known in managed.items()):
            return
        del self._pending[name]
        for number, known in managed.items():
            if number in versions:
                known.wanted = True
            else:
                known.unwant()
        for number in versions.keys() - managed.keys():
            self._manage(Harness(name, number, versions[number]))

    def _forget(self, name: str) -> None:
        """Versions that are over and not wanted are not managed any more; their last status remains."""
        for harness in self._managed(name).values():
            if not harness.wanted and harness.phase is Phase.NEW:
                harness.move(Phase.DISABLED)
            if not harness.wanted and harness.phase in OVER:
                harness.managed = False

    def _act(self, name: str, action: Action) -> None:
        harness = self._models[name][action.version]
        if action.do is Do.LOAD:
            self._request_load(harness)
        else:
            self._request_unload(harness)

    def _managed(self, name: str) -> dict[int, Harness]:
        """The versions of a model that a source has brought, and that are not forgotten yet."""
        known = self._models.get(name, {})
        return {number: harness for number, harness in known.items() if harness.managed and harness.loader}

    def _snapshots(self, name: str) -> list[Snapshot]:
        return [Snapshot(known.version, known.phase, known.wanted) for known in self._managed(name).values()]

    def aspired(self, name: str) -> tuple[VersionStatus, ...]:
        """The states of those versions of a model that are wanted now, highest first."""
        with self._changed:
            statuses = {known.version: known.status for known in self._managed(name).values() if known.wanted}
            if name in self._pending:  # waits for the end of a version that was given up
                statuses = {
                    number: VersionStatus(number, State.START, StatusCode.OK, "") for number in self._pending[name]
                }
            return tuple(statuses[number] for number in sorted(statuses, reverse=True))

    def unload_all(self, timeout: float, loads: float = math.inf) -> bool:
        """Unload everything that came from a source, in order; False when that is not done in ``timeout`` seconds.

        Loads under way, which nobody can interrupt, get no more than ``loads`` of them once the others are done.
        """
        log.info("Unload all remaining servables in the manager.")
        end = time.monotonic() + timeout
        with self._changed:
            for name in [*self._models]:
                if self._sourced(name):
                    self.aspire(name, {})
        if self.wait_until(lambda: not any(map(self._serves, self._models)), timeout):
            end = min(end, time.monotonic() + loads)
        left = max(0.0, end - time.monotonic())
        done = self.wait_until(lambda: not any(map(self._sourced, self._models)), left)
        return done and all(workers.join(max(0.0, end - time.monotonic())) for workers in (self._loads, self._unloads))

    def _sourced(self, name: str) -> bool:
        """Whether versions of a model come from a source, or will when others have ended."""
        return bool(self._pending.get(name)) or bool(self._managed(name))

    def _serves(self, name: str) -> bool:
        """Whether versions of a model from a source are there, or may be called; those being loaded do not count."""
        return any(known.phase not in (Phase.LOAD_REQUESTED, Phase.LOADING) for known in self._managed(name).values())


def _torn_down(harness: Harness) -> bool:
    return not harness.wanted and harness.phase in TRANSIENT
