"""Sources: examples, read one by one on request. ``performing_aio`` has the one for asynchronous iterables."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from tfs_client._flows.batching.batch_steps import END, NOT_YET, SourceError
from tfs_client._transports import daemon_threads


class Source:
    """A source that is read by the caller's thread."""

    def __init__(self, examples: Iterable[object]) -> None:
        self._examples = iter(examples)

    def read(self) -> object:
        """The next example, ``END``, ``NOT_YET`` or a ``SourceError``."""
        try:
            return next(self._examples, END)
        except Exception as error:
            return SourceError(error)

    def close(self) -> None:
        """Stop reading."""


class ThreadedSource(Source):
    """A source that a separate thread reads, one example per request, so that callers do not wait for it.

    Args:
        examples: the iterable to read.
        notify: called by that thread when an example is ready.
    """

    def __init__(self, examples: Iterable[object], notify: Callable[[], object]) -> None:
        super().__init__(examples)
        self._notify = notify
        self._wanted = threading.Semaphore(0)
        self._asked = self._closed = False
        self._ready: deque[object] = deque()
        # A source that blocks cannot be interrupted, and the program must not wait for it.
        self._thread = daemon_threads.start(self._work, "tfs-client-source")

    def read(self) -> object:
        if self._thread is None:  # the program is ending, and no thread can be started
            return super().read()
        if self._ready:
            self._asked = False
            return self._ready.popleft()
        if not self._asked:
            self._asked = True
            self._wanted.release()
        return NOT_YET

    def _work(self) -> None:
        found: object = None
        while found is not END and not isinstance(found, SourceError):
            found = None  # only the reader keeps the example alive
            self._wanted.acquire()
            if self._closed:
                return
            try:
                found = super().read()
            except BaseException as error:  # raised by the reader: a thread cannot pass on an exit
                found = SourceError(error)
            self._ready.append(found)
            if not self._closed:
                self._notify()

    def close(self) -> None:
        self._closed = True
        self._wanted.release()
