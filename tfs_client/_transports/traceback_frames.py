"""Whose frames a traceback has: the caller's, or those of this package and of what it calls."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

# Whose frames say nothing to a caller: this package, the transports, and what is below them. Not the whole standard
# library, because a user's module may be called token or code.
_BELOW = frozenset(
    {
        *("tfs_client", "grpc", "httpx", "httpcore", "h11", "h2", "anyio", "sniffio", "socksio", "uvloop"),
        *("asyncio", "concurrent", "contextlib", "encodings", "functools", "http", "selectors", "socket", "ssl"),
    }
)


def is_below(traceback: TracebackType | None) -> bool:
    """Return whether a traceback has no frame of the user's."""
    return all(root in _BELOW for root in _roots(traceback))


def caught_by_caller(error: BaseException) -> bool:
    """Return whether the caller of this package has caught an exception, and not this package or what it calls.

    The caller handles it, then, and it becomes the context of whatever this package raises meanwhile.
    """
    catcher = next(_roots(error.__traceback__), None)
    return catcher is not None and catcher not in _BELOW


def _roots(traceback: TracebackType | None) -> Iterator[str]:
    """The top-level packages of the frames of a traceback."""
    while traceback is not None:
        yield str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        traceback = traceback.tb_next
