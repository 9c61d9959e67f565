"""A second version policy, which shows that the manager leaves every decision to its policy."""

from __future__ import annotations

from collections.abc import Iterable

from tfs_client.server.lifecycle.aspired_version_policy import (
    Action,
    AspiredServableStateSnapshot,
    ServableAction,
)
from tfs_client.server.lifecycle.states import ENDED, Phase


def resource_preserving(versions: Iterable[AspiredServableStateSnapshot]) -> ServableAction | None:
    """Unload all versions that are not aspired before any is loaded (core/resource_preserving_policy.cc)."""
    versions = list(versions)
    leaving = [known for known in versions if not known.is_aspired]
    ready = [known.version for known in leaving if known.phase is Phase.READY]
    if ready:
        return ServableAction(Action.UNLOAD, min(ready))
    if any(known.phase not in ENDED for known in leaving):
        return None
    new = [known.version for known in versions if known.is_aspired and known.phase is Phase.NEW]
    return ServableAction(Action.LOAD, max(new)) if new else None
