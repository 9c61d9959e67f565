"""Checks of the numbers and errors in faults and states."""

from __future__ import annotations

from tfs_client._printable import shown
from tfs_client.errors import CallError, ConfigError

LONGEST = 3600.0  # seconds; a longer wait in a test is a mistake
LARGEST = 1 << 30  # bytes of a reply that is made up


def check_number(what: str, value: object, least: float, most: float, *, above: bool = False) -> None:
    """Raise ConfigError unless ``value`` is a number from ``least`` (or above it) to ``most``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigError(f"expected {what} from {least:g} to {most:g}, got {shown(value)}")
    if above and value == least:
        raise ConfigError(f"expected {what} above {least:g}, got {shown(value)}")


def check_count(what: str, value: object, least: int = 1, most: int = LARGEST) -> None:
    """Raise ConfigError unless ``value`` is a whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"expected {what} as a whole number from {least} to {most}, got {shown(value)}")


def check_state(version: int | None, seconds: float | None) -> None:
    """Raise ConfigError for arguments that no state of a version can have."""
    if version is not None:
        check_count("a version", version, 0, (1 << 63) - 1)
    if seconds is not None:
        check_number("the duration of a state in seconds", seconds, 0, LONGEST)


def check_failure(error: object) -> None:
    """Raise ConfigError unless this is an error with a status that a failed load can have."""
    if not isinstance(error, CallError) or not error.code:
        raise ConfigError(
            f"expected the reason as a CallError, such as NotFoundError('no saved_model.pb'), got {shown(error)}"
        )
