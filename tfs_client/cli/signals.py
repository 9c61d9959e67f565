"""Signals of commands that run until they are stopped: SIGTERM and SIGINT stop them in order, SIGHUP reloads files.

Python's own handlers run in the main thread, once that thread runs. A signal that the system delivers to another thread
does not wake the main thread, which nearly always waits here. But any signal immediately writes its number to the
wakeup file, and a thread reads that file.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none


class Signals:
    """Within the context, the first SIGTERM or SIGINT and every SIGHUP is an event in ``events``.

    Once the program is ``stopping``, SIGTERM and SIGINT exit with 128 + n. If the program was started with SIGHUP
    ignored, as by ``nohup``, it stays ignored. Only for the main thread.

    Attributes:
        events: a queue; other code may add its own events, so that the program waits for a single queue.
        stopping: set by the first SIGTERM or SIGINT, or by code that stops the program for another reason.
    """

    def __init__(self) -> None:
        self.events: SimpleQueue[object] = SimpleQueue()
        self.stopping: bool = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="tfs-signals", daemon=True)
        self._restoring = ExitStack()
        self._wakeup = -1
        self._had_terminal = _has_terminal()

    def __enter__(self) -> Signals:
        self._thread.start()
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            self._handle(number)
        if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
            self._handle(HANGUP)
        return self

    def _handle(self, number: signal.Signals) -> None:
        self._restoring.callback(signal.signal, number, signal.signal(number, lambda number, frame: None))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restoring.close()
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def terminal_is_gone(self) -> bool:
        """Whether the terminal that started the program is closed, which also sends SIGHUP."""
        return self._had_terminal and not _has_terminal()

    def _watch(self) -> None:
        while number := self._reader.recv(1):
            if number[0] == HANGUP:
                self.events.put(HANGUP)
            elif number[0] in STOP_SIGNALS:  # other code handles other signals
                if self.stopping:
                    os._exit(128 + number[0])
                self.stopping = True
                self.events.put(signal.Signals(number[0]))


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True
