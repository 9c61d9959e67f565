"""Numbers of threads that options ask for.

TensorFlow Serving takes any number, and the process aborts when the system has no more threads to give.
"""

from __future__ import annotations

from tfs_client.errors import ConfigError
from tfs_client.shown import shown

MAX_THREADS = 4096


def checked_threads(name: str, value: object, least: int, note: str = "") -> None:
    """Refuse what is not a number of threads that can be had. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_THREADS:
        raise ConfigError(
            f"expected {name} as a number of threads from {least} to {MAX_THREADS}{note}, got {shown(value)}"
        )
