"""States of a version: those the server works with, what GetModelStatus shows of them, and the legal moves.

Words and order are those of core/loader_harness.h and core/servable_state.h.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from tfs_client.errors import ConfigError
from tfs_client.results import State


class Phase(enum.Enum):
    """Where a version is in its life, as the manager sees it."""

    NEW = "new"
    """known, and nothing done about it yet"""
    LOAD_REQUESTED = "load requested"
    """waits for a thread, or for its resources"""
    LOADING = "loading"
    """is being loaded, all retries and the pauses between them included"""
    READY = "ready"
    """serves"""
    UNLOAD_REQUESTED = "unload requested"
    """waits for a thread; serves until it has one"""
    UNLOADING = "unloading"
    """new requests no longer find it; once its last user is gone it is destroyed"""
    DISABLED = "disabled"
    """gone, as it should be"""
    ERROR = "error"
    """could not be loaded"""


SHOWN: Mapping[Phase, State] = {
    Phase.NEW: State.START,
    Phase.LOAD_REQUESTED: State.START,
    Phase.LOADING: State.LOADING,
    Phase.READY: State.AVAILABLE,
    Phase.UNLOAD_REQUESTED: State.AVAILABLE,
    Phase.UNLOADING: State.UNLOADING,
    Phase.DISABLED: State.END,
    Phase.ERROR: State.END,
}

# A version only moves forward; one that is wanted again after its end begins anew.
MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.NEW: frozenset({Phase.LOAD_REQUESTED, Phase.DISABLED}),
    Phase.LOAD_REQUESTED: frozenset({Phase.LOADING, Phase.ERROR}),
    Phase.LOADING: frozenset({Phase.READY, Phase.ERROR, Phase.UNLOADING}),
    Phase.READY: frozenset({Phase.UNLOAD_REQUESTED}),
    Phase.UNLOAD_REQUESTED: frozenset({Phase.UNLOADING}),
    Phase.UNLOADING: frozenset({Phase.DISABLED, Phase.ERROR}),  # ERROR: loaded when nobody wanted it any more
    Phase.DISABLED: frozenset(),
    Phase.ERROR: frozenset(),
}

TRANSIENT = frozenset({Phase.LOAD_REQUESTED, Phase.LOADING, Phase.UNLOAD_REQUESTED, Phase.UNLOADING})
OVER = frozenset({Phase.DISABLED, Phase.ERROR})


def checked_move(who: object, old: Phase, new: Phase) -> Phase:
    """The new phase. Raises ConfigError, which tells who, for a move that is not in the table."""
    if new not in MOVES[old]:
        raise ConfigError(f"{who}: {old.value} cannot become {new.value}")
    return new
