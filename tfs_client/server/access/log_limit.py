"""A rate limit for log messages that clients can cause at will: each is written once a second."""

from __future__ import annotations

import logging
import time


class OncePerSecond(logging.Filter):
    """Passes one record a second for each message text, compared before formatting."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes."""
        text, now = str(record.msg), time.monotonic()
        if now < self._last.get(text, now - 1) + 1:
            return False
        self._last[text] = now
        return True
