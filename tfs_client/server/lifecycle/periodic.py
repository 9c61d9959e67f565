"""PeriodicFunction: calls a function periodically in a separate thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log: logging.Logger = logging.getLogger("tfs_client.server")


def pause_after(began: float, ended: float, period: float) -> float:
    """Seconds until the next call: periods are measured from start to start, and an overdue call runs at once."""
    return max(0.0, began + period - ended)


class PeriodicFunction:
    """Calls ``work`` at once, and then every ``period`` seconds until it is stopped. Its exceptions are logged."""

    def __init__(self, work: Callable[[], None], period: float, name: str) -> None:
        self._work = work
        self._period = period
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. The first call runs at once."""
        self._thread.start()

    def run_soon(self) -> None:
        """Run the next call now, without waiting for the rest of the period."""
        self._due.set()

    def stop(self, timeout: float | None = None) -> None:
        """Make no more calls, and wait up to ``timeout`` seconds for a running one to end."""
        self._stopping = True
        self._due.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            try:
                self._work()
            except Exception:  # the next call may succeed
                log.exception("%s failed", self._thread.name)
            self._due.wait(min(pause_after(began, time.monotonic(), self._period), threading.TIMEOUT_MAX))
            self._due.clear()
