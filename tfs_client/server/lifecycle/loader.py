"""Loader: loads one version into memory and unloads it.

A load that fails is retried after a pause, because its files may still be arriving. Every pause ends at once when the
version is no longer aspired.
Source: core/loader.h, util/retrier.cc, servables/tensorflow/saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from tfs_client.errors import CallError, CancelledError, call_error
from tfs_client.server.config import Retries
from tfs_client.server.files.file_errors import NOT_RETRIED, ForbiddenPathError, file_error, load_error, status_text
from tfs_client.server.servable import Servable

log: logging.Logger = logging.getLogger("tfs_client.server")

T = TypeVar("T")

Load = Callable[[str], Servable]
"""A platform's load function: takes a version directory, returns its servable. An exception fails the attempt."""

Warmup = Callable[[Servable, str], None]
"""Takes a servable that was just loaded, and its directory. An exception fails the attempt."""

RAM_FACTOR = 1.2  # times the bytes of all files (servables/tensorflow/oss/resource_estimator.cc)


class Loader:
    """Loads and unloads one version. The constructor reads nothing.

    Args:
        path: the version's directory.
        load: the platform's load function.
        warmup: called after every successful load; the attempt succeeds only if it does.
        guard: called before anything is read: takes the path, returns the path to read, or raises if it is forbidden.
    """

    def __init__(
        self, path: str, load: Load, warmup: Warmup | None = None, guard: Callable[[str], str] | None = None
    ) -> None:
        self.path = path
        self._load = load
        self._warmup = warmup
        self._guard = guard

    def estimate(self) -> int:
        """Estimate the servable's memory in bytes. Raises CallError if the directory cannot be listed."""
        path = self._guarded()
        try:
            return int(sum(_sizes(path)) * RAM_FACTOR)
        except OSError as error:
            raise file_error(error, self.path) from None

    def load(self) -> Servable:
        """Make one attempt to load and warm up. Raises CallError."""
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
        except BaseException as error:  # also SystemExit: it ends the version, not the thread
            if not isinstance(error, (CallError, OSError)):  # its text alone does not say where it was raised
                log.debug("Loading %s failed", self.path, exc_info=True)
            raise load_error(error, self.path) from error

    def _guarded(self) -> str:
        return self.path if self._guard is None else self._guard(self.path)

    def unload(self, servable: Servable) -> None:
        """Release a servable: call its ``close`` method, if it has one."""
        close = getattr(servable, "close", None)
        if close is not None:
            try:
                close()
            except BaseException:  # the version is unloaded anyway
                log.exception("Closing the servable of %s failed", self.path)


def _sizes(path: str) -> list[int]:
    sizes = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link may lead back to this directory
                sizes += _sizes(entry.path)
            elif entry.is_file():
                sizes.append(entry.stat().st_size)
    return sizes


def reserve(who: str, loader: Loader, retries: Retries, cancelled: threading.Event) -> int:
    """Return the bytes that a version needs. No size is refused, as in the model server's default configuration.

    ``who`` is the servable as the model server writes it. Raises CallError with the code of the cause.
    """

    def attempt() -> int:
        try:
            return loader.estimate()
        except ForbiddenPathError:
            raise
        except CallError as error:
            said = f"Error while attempting to reserve resources to load servable {who}: {error.details}"
            raise call_error(error.code, said) from None

    needed = retry(f"Reserving resources for servable: {who}", attempt, retries, cancelled)
    log.info("Successfully reserved resources to load servable %s", who)
    return needed


def load(who: str, loader: Loader, retries: Retries, cancelled: threading.Event) -> Servable:
    """Load a version. Raises the CallError of the last attempt."""
    return retry(f"Loading servable: {who}", loader.load, retries, cancelled)


def retry(what: str, attempt: Callable[[], T], retries: Retries, cancelled: threading.Event) -> T:
    """Return the result of the first successful attempt. Raises the CallError of the last one.

    Once ``cancelled`` is set, no more attempts are made, and a pause ends at once. Errors of a missing package or a
    forbidden path are not retried.
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
            if isinstance(error, NOT_RETRIED):
                raise
        finally:  # even if the last attempt has succeeded, as in the model server
            if retry == retries.count:
                log.info("Retrying of %s exhausted max_num_retries: %d", what, retries.count)
    raise failed
