"""Sources: examples, one each time one is asked for. ``awaited`` has that of asynchronous iterables."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from tfs_client import daemons
from tfs_client.batching.steps import END, NOT_YET, Broken


class Source:
    """Examples, read when they are asked for."""

    def __init__(self, examples: Iterable[Any]) -> None:
        self._examples = iter(examples)

    def read(self) -> Any:
        """The next example, ``END``, ``Broken``, or ``NOT_YET``."""
        try:
            return next(self._examples, END)
        except Exception as error:
            return Broken(error)

    def close(self) -> None:
        """Nothing more is asked for."""


class ThreadedSource(Source):
    """Examples, read by a thread of its own, one each time one is asked for, so that nobody waits for them.

    Args:
        examples: where they come from.
        tell: called by that thread when there is one.
    """

    def __init__(self, examples: Iterable[Any], tell: Callable[[], object]) -> None:
        super().__init__(examples)
        self._tell = tell
        self._wanted = threading.Semaphore(0)
        self._asked = self._closed = False
        self._there: deque[Any] = deque()
        # Nobody can end a source that waits, and the program must not wait for it.
        self._thread = daemons.start(self._work, "tfs-client-source")

    def read(self) -> Any:
        if self._thread is None:  # there is none to be had: at the end of the program
            return super().read()
        if self._there:
            self._asked = False
            return self._there.popleft()
        if not self._asked:
            self._asked = True
            self._wanted.release()
        return NOT_YET

    def _work(self) -> None:
        found: Any = None
        while found is not END and not isinstance(found, Broken):
            found = None  # nobody but the reader keeps it
            self._wanted.acquire()
            if self._closed:
                return
            try:
                found = super().read()
            except BaseException as error:  # a thread cannot pass on an exit or an interrupt, but the reader can
                found = Broken(error)
            self._there.append(found)
            if not self._closed:
                self._tell()

    def close(self) -> None:
        self._closed = True
        self._wanted.release()
