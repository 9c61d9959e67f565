"""A rate limit for logs: messages that outsiders can cause at will are written once a second."""

from __future__ import annotations

import logging
import time


class OncePerSecond(logging.Filter):
    """Lets one record a second pass for each message text, compared before its values are filled in."""

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
