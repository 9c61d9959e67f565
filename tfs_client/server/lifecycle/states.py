"""States of a version: the manager's phases, the states that GetModelStatus reports, and the legal moves.

Words and order are those of core/loader_harness.h and core/servable_state.h.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from tfs_client.errors import ConfigError
from tfs_client.results import State


class Phase(enum.Enum):
    """The phase of a version's life, as the manager sees it."""

    NEW = "new"
    """aspired, not yet acted upon"""
    LOAD_REQUESTED = "load requested"
    """waiting for a thread or for its resources"""
    LOADING = "loading"
    """being loaded; includes all retries and the pauses between them"""
    READY = "ready"
    """serving"""
    UNLOAD_REQUESTED = "unload requested"
    """waiting for a thread; still serving"""
    UNLOADING = "unloading"
    """hidden from new requests; unloaded once its last request is done"""
    DISABLED = "disabled"
    """unloaded as intended"""
    ERROR = "error"
    """failed to load"""


REPORTED: Mapping[Phase, State] = {
    Phase.NEW: State.START,
    Phase.LOAD_REQUESTED: State.START,
    Phase.LOADING: State.LOADING,
    Phase.READY: State.AVAILABLE,
    Phase.UNLOAD_REQUESTED: State.AVAILABLE,
    Phase.UNLOADING: State.UNLOADING,
    Phase.DISABLED: State.END,
    Phase.ERROR: State.END,
}

# A version only moves forward. If it is aspired again after its end, a new harness starts at NEW.
MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.NEW: frozenset({Phase.LOAD_REQUESTED, Phase.DISABLED}),
    Phase.LOAD_REQUESTED: frozenset({Phase.LOADING, Phase.ERROR}),
    Phase.LOADING: frozenset({Phase.READY, Phase.ERROR, Phase.UNLOADING}),
    Phase.READY: frozenset({Phase.UNLOAD_REQUESTED}),
    Phase.UNLOAD_REQUESTED: frozenset({Phase.UNLOADING}),
    Phase.UNLOADING: frozenset({Phase.DISABLED, Phase.ERROR}),  # ERROR: no longer aspired when its load ended
    Phase.DISABLED: frozenset(),
    Phase.ERROR: frozenset(),
}

TRANSIENT = frozenset({Phase.LOAD_REQUESTED, Phase.LOADING, Phase.UNLOAD_REQUESTED, Phase.UNLOADING})
ENDED = frozenset({Phase.DISABLED, Phase.ERROR})


def checked_move(who: object, old: Phase, new: Phase) -> Phase:
    """Return the new phase. Raises ConfigError, which names ``who``, for a move that is not in the table."""
    if new not in MOVES[old]:
        raise ConfigError(f"{who}: {old.value} cannot become {new.value}")
    return new
