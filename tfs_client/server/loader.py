"""Loader: how one version gets into memory and out of it.

A load is tried again when it fails, and after a pause, since files may still be on their way. All that can be waited
for can be given up at once, when nobody wants the version any more.
Source: core/loader.h, util/retrier.cc, servables/tensorflow/saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tfs_client.errors import CallError, CancelledError, ConfigError, call_error
from tfs_client.server.file_errors import FINAL, ForbiddenPathError, file_error, load_error, status_text
from tfs_client.server.servable import Servable
from tfs_client.shown import shown

log = logging.getLogger("tfs_client.server")

T = TypeVar("T")

Load = Callable[[str], Servable]
"""A platform: gets the directory of a version and returns its servable; any exception is a failed attempt."""

Warmup = Callable[[Servable, str], None]
"""Gets a servable that was just loaded and its directory; an exception fails the attempt."""

RAM_FACTOR = 1.2  # of the bytes of all files (servables/tensorflow/oss/resource_estimator.cc)


@dataclass(frozen=True)
class Retries:
    """How often a failed load is tried again.

    Attributes:
        count: attempts after the first one (``--max_num_load_retries``).
        pause: seconds before each of them; 0 or less for none (``--load_retry_interval_micros``).
    """

    count: int = 5
    pause: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConfigError(f"expected a number of load retries, 0 or more, got {shown(self.count)}")
        number = isinstance(self.pause, (int, float)) and not isinstance(self.pause, bool)
        if not number or self.pause != self.pause:
            raise ConfigError(f"expected the pause between load attempts in seconds, got {shown(self.pause)}")


class Loader:
    """One version's way into memory and out of it. Making one reads nothing.

    Args:
        path: the version's directory.
        load: the platform's function.
        warmup: run after every load that succeeds, before it counts as one.
        guard: gets the path before anything is read, and returns the one to read; it raises for a forbidden one.
    """

    def __init__(
        self, path: str, load: Load, warmup: Warmup | None = None, guard: Callable[[str], str] | None = None
    ) -> None:
        self.path = path
        self._load = load
        self._warmup = warmup
        self._guard = guard

    def estimate(self) -> int:
        """Bytes of memory that the servable may take. Raises CallError when the directory cannot be listed."""
        path = self._guarded()
        try:
            return int(sum(_sizes(path)) * RAM_FACTOR)
        except OSError as error:
            raise file_error(error, self.path) from None

    def load(self) -> Servable:
        """One attempt: load and warm up. Raises CallError."""
        try:
            path = self._guarded()
            servable = self._load(path)
            try:
                if self._warmup is not None:
                    self._warmup(servable, path)
            except BaseException:
                self.unload(servable)
                raise
            return servable
        except BaseException as error:  # also SystemExit: the version shall end, not the thread
            if not isinstance(error, (CallError, OSError)):  # its text alone would not say where it came from
                log.debug("Loading %s failed", self.path, exc_info=True)
            raise load_error(error, self.path) from error

    def _guarded(self) -> str:
        return self.path if self._guard is None else self._guard(self.path)

    def unload(self, servable: Servable) -> None:
        """Give back what a servable holds: its ``close`` method is called, if it has one."""
        close = getattr(servable, "close", None)
        if close is not None:
            try:
                close()
            except BaseException:  # it is gone all the same
                log.exception("Closing the servable of %s failed", self.path)


def _sizes(path: str) -> list[int]:
    sizes = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link to a directory may lead back to here
                sizes += _sizes(entry.path)
            elif entry.is_file():
                sizes.append(entry.stat().st_size)
    return sizes


def reserve(who: str, loader: Loader, retries: Retries, cancelled: threading.Event) -> int:
    """Find out what a version needs, in bytes. Nothing is refused for its size, as in the stock server.

    Raises CallError with the cause's code. ``who`` is the servable as the model server writes it.
    """

    def attempt() -> int:
        try:
            return loader.estimate()
        except ForbiddenPathError:
            raise
        except CallError as error:
            said = f"Error while attempting to reserve resources to load servable {who}: {error.details}"
            raise call_error(error.code, said) from None

    needed = attempts(f"Reserving resources for servable: {who}", attempt, retries, cancelled)
    log.info("Successfully reserved resources to load servable %s", who)
    return needed


def load(who: str, loader: Loader, retries: Retries, cancelled: threading.Event) -> Servable:
    """Load a version. Raises CallError, that of the last attempt."""
    return attempts(f"Loading servable: {who}", loader.load, retries, cancelled)


def attempts(what: str, attempt: Callable[[], T], retries: Retries, cancelled: threading.Event) -> T:
    """The result of the first attempt that succeeds. Raises CallError, that of the last one.

    Once ``cancelled`` is set there are no more attempts, and a pause ends at once. What a missing package
    or a forbidden path has ended is not tried again.
    """
    failed: CallError = CancelledError("Loading of servable cancelled")
    for retry in range(retries.count + 1):
        if retry:
            pause = min(max(0.0, retries.pause), threading.TIMEOUT_MAX)
            if pause:
                log.warning("%s: retry %d of %d in %g s", what, retry, retries.count, pause)
            cancelled.wait(pause)
        if cancelled.is_set():
            log.info("Retrying of %s was cancelled.", what)
            raise failed
        if retry:
            log.info("Retrying of %s retry: %d", what, retry)
        try:
            return attempt()
        except CallError as error:
            failed = error
            log.error("%s failed: %s", what, status_text(error))
            if isinstance(error, FINAL):
                raise
    log.info("Retrying of %s exhausted max_num_retries: %d", what, retries.count)
    raise failed
