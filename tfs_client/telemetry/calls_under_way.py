"""CallsUnderWay: what a hook keeps of a call between its first record and its last one."""

from __future__ import annotations

import os
import weakref
from typing import Any, Generic, TypeVar

State = TypeVar("State")

MOST = 100_000  # calls; more than any program makes at a time


class CallsUnderWay(Generic[State]):
    """The state of calls by their number. Its size is bounded, and a forked process does not have those of its parent.

    Attributes:
        inherited: in a forked process, the states of calls that were under way in the parent. They end there alone.
    """

    # The operations on dicts and lists below are atomic, so hooks of many threads need no lock, and no fork finds a
    # lock that another thread holds.

    def __init__(self) -> None:
        self._states: dict[int, State] = {}
        self.inherited: list[State] = []
        _watched.add(self)

    def __len__(self) -> int:
        return len(self._states)

    def begin(self, call: int, state: State) -> State | None:
        """Keep the state of a call. Returns that of the oldest call if there are too many, and forgets it."""
        self._states[call] = state
        if len(self._states) <= MOST:
            return None
        try:
            return self._states.pop(next(iter(self._states)), None)
        except (RuntimeError, StopIteration):  # another thread changed the dict meanwhile
            return None

    def find(self, call: int) -> State | None:
        """Return the state of a call; None for an unknown one."""
        return self._states.get(call)

    def end(self, call: int) -> State | None:
        """Return the state of a call and forget it; None for an unknown one."""
        return self._states.pop(call, None)

    def leave_to_parent(self) -> None:
        """In a forked process: forget the calls of the parent."""
        self.inherited += self._states.values()
        self._states.clear()


_watched: weakref.WeakSet[CallsUnderWay[Any]] = weakref.WeakSet()


def _forked() -> None:
    for calls in list(_watched):
        calls.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
