"""Admission: how many calls are being served, and that no more are once the server stops."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from tfs_client.errors import UnavailableError


class Admission:
    """Open until it is closed; ``with admission:`` counts a call. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._open = True
        self._came = deque([-math.inf] * 4, maxlen=4)  # when the last calls did, by time.monotonic()

    def open(self) -> None:
        """Let calls in."""
        self._open = True

    def close(self) -> None:
        """Let no more calls in."""
        self._open = False

    def settle(self, quiet: float, limit: float) -> None:
        """If there is traffic, wait until no call has come for ``quiet`` seconds, but not longer than ``limit``."""
        now = time.monotonic()
        end = now + limit
        with self._lock:
            busy = self._inside > 0 or now - self._came[0] < 2 * quiet
        while busy and time.monotonic() < end:
            time.sleep(quiet)
            busy = time.monotonic() - self._came[-1] < quiet

    # A call is inside as long as a block of this lasts, also one that is to be refused there. Every call passes here:
    # the generator of @contextmanager would take longer than what it does.
    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self._came.append(time.monotonic())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1

    def check(self) -> None:
        """Raise UnavailableError unless it is open."""
        if not self._open:
            raise UnavailableError("the server is stopping")
