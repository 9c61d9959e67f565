"""The stack level of warnings that are for the user's code, not for a module of the library."""

from __future__ import annotations

import sys


def level_of_the_user() -> int:
    """Return how many frames the user's code is above the code that warns, generators included."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tfs_client."):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level
