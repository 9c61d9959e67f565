"""Signals that end tfs-serve: the first one asks for an orderly stop, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from queue import SimpleQueue
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Within the context, the first SIGTERM or SIGINT is an event in ``events``, and the second exits with 128 + n.

    Others may put their own events there, so that one thing is waited for. Only for the main thread.
    """

    # Python's own handlers run in the main thread, once that runs. A signal that the system hands to another thread
    # does not wake it up where it waits, as it nearly always does here. What every signal does at once, whoever got
    # it, is to write its number to the wakeup file; and a thread that reads it needs nobody.

    def __init__(self) -> None:
        self.events: SimpleQueue[Any] = SimpleQueue()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="tfs-serve-signals", daemon=True)
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> StopSignals:
        self._thread.start()
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, lambda number, frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._handlers.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def _watch(self) -> None:
        asked = False
        while number := self._reader.recv(1):
            if number[0] not in SIGNALS:  # somebody else's
                continue
            if asked:
                os._exit(128 + number[0])
            asked = True
            self.events.put(signal.Signals(number[0]))
