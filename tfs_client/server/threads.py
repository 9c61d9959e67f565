"""Limits on the numbers of threads in options.

TensorFlow Serving accepts any number, and the process aborts when the system cannot create more threads.
"""

from __future__ import annotations

from tfs_client.errors import ConfigError
from tfs_client.shown import shown

MAX_THREADS = 4096


def checked_threads(name: str, value: object, least: int, note: str = "") -> None:
    """Raise ConfigError unless the value is a number of threads within the limits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_THREADS:
        raise ConfigError(f"expected {name} from {least} to {MAX_THREADS}{note}, got {shown(value)}")
