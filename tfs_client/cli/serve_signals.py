"""Signals that end tfs-serve: the first one asks for an orderly stop, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Within the context, the first SIGTERM or SIGINT is an event in ``events``, and the second exits with 128 + n.

    Others may put their own events there, so that one thing is waited for. Only for the main thread.
    """

    def __init__(self) -> None:
        # This queue may be put to in the midst of a get, as a signal handler does; an Event's lock would not bear it.
        self.events: SimpleQueue[Any] = SimpleQueue()
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        self.events.put(signal.Signals(number))
