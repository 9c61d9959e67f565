"""Version transition policies: given which versions are wanted and what has become of each, what to do next.

They differ in what they preserve while one version follows another: availability (the new one is loaded before the old
one goes; both are in memory for a while) or resources (the other way round; for a while none serves).
Source: core/availability_preserving_policy.cc, core/resource_preserving_policy.cc.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfs_client.server.states import OVER, Phase


@dataclass(frozen=True)
class Snapshot:
    """A version under management: its number, its phase, and whether it is wanted."""

    version: int
    phase: Phase
    wanted: bool


class Do(enum.Enum):
    """What can be done with a version."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Action:
    """What to do next, and with which version."""

    do: Do
    version: int


Policy = Callable[[Iterable[Snapshot]], Action | None]
"""Takes all versions of one model that are under management; None means to leave things as they are."""


def availability_preserving(versions: Iterable[Snapshot]) -> Action | None:
    """The model server's policy: the last version that serves goes only when a wanted one does, or none is wanted."""
    versions = list(versions)
    wanted = [known for known in versions if known.wanted]
    leaving = _unwanted_and_ready(versions)
    replaced = not wanted or any(known.phase is Phase.READY for known in wanted)
    if leaving and (replaced or len(leaving) > 1):
        return Action(Do.UNLOAD, min(leaving))
    return _load_highest_new(wanted)


def resource_preserving(versions: Iterable[Snapshot]) -> Action | None:
    """Unload all that is not wanted before anything is loaded."""
    versions = list(versions)
    leaving = _unwanted_and_ready(versions)
    if leaving:
        return Action(Do.UNLOAD, min(leaving))
    if any(known.phase not in OVER for known in versions if not known.wanted):
        return None
    return _load_highest_new(known for known in versions if known.wanted)


def _unwanted_and_ready(versions: Iterable[Snapshot]) -> list[int]:
    return [known.version for known in versions if not known.wanted and known.phase is Phase.READY]


def _load_highest_new(wanted: Iterable[Snapshot]) -> Action | None:
    new = [known.version for known in wanted if known.phase is Phase.NEW]
    return Action(Do.LOAD, max(new)) if new else None
