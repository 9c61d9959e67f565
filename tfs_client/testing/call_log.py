"""CallLog: the calls of a fake server, with the clients' own look-ups kept apart from the users' calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tfs_client.recordings import episodes
from tfs_client.server import ServedCall
from tfs_client.server.call_record import clock_slack

LOOKUPS = frozenset((*episodes.LOOKUPS, "ListModels", "GetConfig"))


class CallLog:
    """Record calls as they end. Thread-safe.

    A call also ends when its deadline passes, even while the model's function still runs. The deadline passes here a
    little later than at the client, so ``wait_for_due_calls`` waits for it: a call that its client has given up is then
    in the log.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[object, ServedCall] = {}
        self._expired: set[object] = set()
        self._calls: list[ServedCall] = []

    def began(self, call: ServedCall) -> None:
        """Note that a call is being served."""
        with self._changed:
            self._running[call.key] = call

    def ended(self, call: ServedCall) -> None:
        """Record a call that has ended. ``call`` may be a copy of the record that was passed to ``began``."""
        with self._changed:
            self._running.pop(call.key, None)
            if call.key in self._expired:
                self._expired.remove(call.key)  # already in the log
            else:
                self._calls.append(call)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget the calls that have ended."""
        with self._changed:
            self._calls.clear()

    def ended_calls(self, *, lookups: bool) -> list[ServedCall]:
        """Return the look-ups, or all other calls, in the order in which they ended."""
        with self._changed:
            return [call for call in self._calls if (call.method in LOOKUPS) == lookups]

    def has_running(self, transport: str) -> bool:
        """Return whether a call over this transport is being served."""
        with self._changed:
            return any(call.transport == transport for call in self._running.values())

    def wait_for_due_calls(self) -> None:
        """Wait for calls whose deadline is about to pass, for at most 1 second."""
        with self._changed:
            end = time.monotonic() + 1
            while True:
                due = [call for call in self._running.values() if _is_due(call)]
                waiting = [call.remaining() for call in due if not self._expired_now(call)]
                if not waiting or time.monotonic() > end:
                    return
                self._changed.wait(max(min(waiting), 0.001))

    def wait_for_departed(self, has_departed: Callable[[str], bool]) -> None:
        """Wait until the calls of clients that have departed are recorded, for at most 5 seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not any(has_departed(call.peer) for call in self._running.values()), 5)

    def _expired_now(self, call: ServedCall) -> bool:
        if call.remaining() > 0:
            return False
        del self._running[call.key]
        self._expired.add(call.key)
        record = replace(call)
        record.late()
        record.seconds = time.monotonic() - call.began
        self._calls.append(record)
        return True


def _is_due(call: ServedCall) -> bool:
    return call.timeout is not None and call.remaining() < clock_slack(call.timeout)
