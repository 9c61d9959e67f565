"""A limit to logs: what outsiders cause as often as they like is written once a second."""

from __future__ import annotations

import logging
import time


class OncePerSecond(logging.Filter):
    """Of records with the same text, before its values are filled in, lets one pass each second."""

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
