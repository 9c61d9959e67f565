"""CallLog: the calls of a fake server, sorted into what users do and what clients look up."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from tfs_client.server import ServedCall
from tfs_client.server.served import clock_slack

LOOKUPS = frozenset(("GetModelMetadata", "GetModelStatus"))


class CallLog:
    """Records calls as they end. May be used from any thread.

    A call also ends when its deadline passes, whatever the model's function is still doing. The deadline passes here a
    little later than at the client, so that ``settle`` waits for it: what a client has given up is in the log.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[object, ServedCall] = {}
        self._expired: set[object] = set()
        self._calls: list[ServedCall] = []

    def began(self, call: ServedCall) -> None:
        """A call is being served."""
        with self._changed:
            self._running[call.key] = call

    def ended(self, call: ServedCall) -> None:
        """A call has ended; this may be a copy of the record that it began with."""
        with self._changed:
            self._running.pop(call.key, None)
            if call.key in self._expired:
                self._expired.remove(call.key)  # it is in the log already
            else:
                self._calls.append(call)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget the calls that have ended."""
        with self._changed:
            self._calls.clear()

    def ended_calls(self, *, lookups: bool) -> list[ServedCall]:
        """The look-ups, or all the other calls, in the order of their ends."""
        with self._changed:
            return [call for call in self._calls if (call.method in LOOKUPS) == lookups]

    def has_running(self, transport: str) -> bool:
        """Whether a call of this transport is being served."""
        with self._changed:
            return any(call.transport == transport for call in self._running.values())

    def settle(self) -> None:
        """Wait for calls whose deadline is about to pass; 1 second at the most."""
        with self._changed:
            end = time.monotonic() + 1
            while True:
                due = [call for call in self._running.values() if _is_due(call)]
                waiting = [call.remaining() for call in due if not self._expired_now(call)]
                if not waiting or time.monotonic() > end:
                    return
                self._changed.wait(max(min(waiting), 0.001))

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
