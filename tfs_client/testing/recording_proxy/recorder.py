"""Recorder: appends episodes to a file in a thread, so that a slow or full disk neither delays nor fails a call."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tfs_client._printable import bounded
from tfs_client.errors import StatusCode, TFServingError
from tfs_client.recordings.episodes import Episode

MOST_WAITING = 256 << 20  # bytes of calls that wait for the disk; further calls are not recorded
LONGEST_REASON = 200  # characters
MOST_REASONS = 50  # different ones; callers may cause any number

CALLER_LEFT = "their callers gave up, or their deadlines passed"

log: logging.Logger = logging.getLogger(__name__)


class NotRecorded(Exception):
    """A call that cannot be an episode; the text says why, and is the same for similar calls."""


@dataclass
class Counts:
    """What has passed the proxy.

    Attributes:
        recorded: the calls in the file.
        failed: those of them that the server refused.
        left_out: the number of other calls by the reason why they are not in the file.
        write_errors: the errors of the file, by text.
    """

    recorded: int = 0
    failed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    write_errors: Counter[str] = field(default_factory=Counter)

    @property
    def not_recorded(self) -> int:
        """The number of calls that are not in the file."""
        return sum(self.left_out.values()) + sum(self.write_errors.values())


class Recorder:
    """Makes episodes of calls that have ended, in their order, and appends them.

    Args:
        append: writes an episode to the file. Raises OSError or TFServingError.
        report: takes a text for each new error of the file.
        limit: the number of bytes that may wait for it.
    """

    def __init__(
        self, append: Callable[[Episode], None], report: Callable[[str], None], limit: int = MOST_WAITING
    ) -> None:
        self.counts: Counts = Counts()
        self._append = append
        self._report = report
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], Episode]]] = deque()
        self._bytes = 0
        self._unfinished = 0  # calls that have arrived and are neither written nor left out
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tfs-admin-record", daemon=True)
        self._thread.start()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold a call from its arrival until it is recorded or left out, for ``wait_until_written``."""
        with self._changed:
            self._unfinished += 1
        try:
            yield
        finally:
            self._finish()

    def record(self, size: int, episode: Callable[[], Episode]) -> None:
        """Record a call of ``size`` bytes. Returns at once; ``episode`` runs later and may raise NotRecorded."""
        with self._changed:
            if self._closed:
                self.counts.left_out["it ended after the recording"] += 1
            elif self._bytes + size > self._limit and self._waiting:
                self.counts.left_out[f"over {self._limit >> 20} MiB of calls waited for the disk"] += 1
            else:
                self._bytes += size
                self._unfinished += 1
                self._waiting.append((size, episode))
                self._changed.notify_all()

    def leave_out(self, reason: str) -> None:
        """Count a call that is not recorded."""
        reason = bounded(reason, LONGEST_REASON)
        with self._changed:
            known = reason in self.counts.left_out or len(self.counts.left_out) < MOST_REASONS
            self.counts.left_out[reason if known else "other reasons"] += 1

    def close(self, patience: float | None = None) -> bool:
        """Write what waits, for at most ``patience`` seconds, and end the thread. Returns whether all was written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def wait_until_written(self, patience: float) -> bool:
        """Wait until every call that has arrived is written or left out. Returns False after ``patience`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unfinished, patience)

    def _finish(self, size: int = 0) -> None:
        with self._changed:
            self._bytes -= size
            self._unfinished -= 1
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                size, episode = self._waiting.popleft()
            self._write(episode)
            self._finish(size)

    def _write(self, make: Callable[[], Episode]) -> None:
        try:
            episode = make()
        except NotRecorded as error:
            self.leave_out(str(error))
            return
        except Exception as error:  # whatever is wrong with one call, the next one is recorded
            log.debug("a call cannot be recorded", exc_info=True)
            self.leave_out(f"{type(error).__name__}: {error}")
            return
        try:
            self._append(episode)
        except (OSError, TFServingError, ValueError) as error:
            text = bounded(str(error), LONGEST_REASON)
            with self._changed:
                self.counts.write_errors[text] += 1
            if self.counts.write_errors[text] == 1:
                self._report(f"cannot write the recording: {text}; calls are forwarded all the same")
            return
        with self._changed:
            self.counts.recorded += 1
            self.counts.failed += episode.code is not StatusCode.OK
