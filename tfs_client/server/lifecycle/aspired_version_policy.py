"""Aspired version policies: decide the next action from the versions of a model and their states.

The model server has two. They differ in what they preserve during the transition to another version: availability (the
new version is loaded before the old one is unloaded, so both are in memory for a while) or resources (the other order,
so for a while no version serves). Only the first one can be reached through the model server's flags, and is here.
Source: core/aspired_version_policy.h, core/availability_preserving_policy.cc.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfs_client.server.lifecycle.states import Phase


@dataclass(frozen=True)
class AspiredServableStateSnapshot:
    """A managed version: its number, its phase, and whether it is aspired."""

    version: int
    phase: Phase
    is_aspired: bool


class Action(enum.Enum):
    """What the manager can do with a version."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class ServableAction:
    """The next action, and the version that it applies to."""

    action: Action
    version: int


AspiredVersionPolicy = Callable[[Iterable[AspiredServableStateSnapshot]], ServableAction | None]
"""Takes all managed versions of one model; None means that there is nothing to do now."""


def availability_preserving(versions: Iterable[AspiredServableStateSnapshot]) -> ServableAction | None:
    """Unload a version that is not aspired, else load the highest new one.

    The last version that serves is unloaded only if an aspired version serves, or if none is aspired.
    """
    versions = list(versions)
    aspired = [known for known in versions if known.is_aspired]
    leaving = [known.version for known in versions if not known.is_aspired and known.phase is Phase.READY]
    replaced = not aspired or any(known.phase is Phase.READY for known in aspired)
    if leaving and (replaced or len(leaving) > 1):
        return ServableAction(Action.UNLOAD, min(leaving))
    new = [known.version for known in aspired if known.phase is Phase.NEW]
    return ServableAction(Action.LOAD, max(new)) if new else None
