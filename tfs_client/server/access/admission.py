"""Admission: counts the calls that are being served, and refuses calls once the server stops."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from tfs_client.errors import UnavailableError


class Admission:
    """Open until it is closed. ``with admission:`` counts a call. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._open = True
        self._came = deque([-math.inf] * 4, maxlen=4)  # the arrival times of the last calls, by time.monotonic()

    def open(self) -> None:
        """Admit calls."""
        self._open = True

    def close(self) -> None:
        """Refuse calls from now on."""
        self._open = False

    def wait_until_quiet(self, quiet: float, limit: float) -> None:
        """If there is traffic, wait until no call arrives for ``quiet`` seconds, but at most ``limit`` seconds."""
        now = time.monotonic()
        end = now + limit
        with self._lock:
            busy = self._inside > 0 or now - self._came[0] < 2 * quiet
        while busy and time.monotonic() < end:
            time.sleep(quiet)
            busy = time.monotonic() - self._came[-1] < quiet

    # A call counts for the duration of the block, even if it is refused there. Methods rather than @contextmanager,
    # because every call passes here and a generator takes longer than the work.
    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self._came.append(time.monotonic())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1

    def check(self) -> None:
        """Raise UnavailableError if it is closed."""
        if not self._open:
            raise UnavailableError("the server is stopping")
